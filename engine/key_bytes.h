// KeyBytes: a key that outlives the guard under which it was read. KeyList: many of them, to be sorted. Both in private
// memory, outside any store's budget.
#ifndef TERN_ENGINE_KEY_BYTES_H_
#define TERN_ENGINE_KEY_BYTES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "alloc/private_memory.h"
#include "engine/key_sort.h"

namespace tern::detail {

// Allocates for keys that don't fit into it.
class KeyBytes {
 public:
  KeyBytes() noexcept = default;
  KeyBytes(const KeyBytes&) = delete;
  KeyBytes& operator=(const KeyBytes&) = delete;
  ~KeyBytes() {
    if (data_ != here_) alloc::private_free(data_);
  }

  // `key` and `more` after each other. False: no memory, and it is as before. Neither may be its own bytes.
  bool assign(std::string_view key, std::string_view more = {}) noexcept {
    const std::size_t size = key.size() + more.size();
    if (size > capacity_) {
      auto* larger = static_cast<char*>(alloc::private_allocate(size));
      if (larger == nullptr) return false;
      if (data_ != here_) alloc::private_free(data_);
      data_ = larger;
      capacity_ = size;
    }
    if (!key.empty()) std::memcpy(data_, key.data(), key.size());
    if (!more.empty()) std::memcpy(data_ + key.size(), more.data(), more.size());
    size_ = size;
    return true;
  }
  // What is greater than every key that begins with these bytes, and nothing less is; empty: there is no such thing.
  void to_successor() noexcept {
    while (size_ != 0 && static_cast<unsigned char>(data_[size_ - 1]) == 0xFF) --size_;
    if (size_ != 0) data_[size_ - 1] = static_cast<char>(static_cast<unsigned char>(data_[size_ - 1]) + 1);
  }
  std::string_view view() const noexcept { return {data_, size_}; }
  char* data() noexcept { return data_; }
  void shorten(std::size_t size) noexcept { size_ = size; }  // no longer than it is

 private:
  char here_[104];
  char* data_ = here_;
  std::size_t size_ = 0;
  std::size_t capacity_ = sizeof here_;
};

class KeyList {
 public:
  using Item = KeyItem;

  KeyList() noexcept = default;
  KeyList(const KeyList&) = delete;
  KeyList& operator=(const KeyList&) = delete;
  ~KeyList() {
    alloc::private_free(items_);
    while (chunk_ != nullptr) alloc::private_free(std::exchange(chunk_, chunk_->next));
  }

  // False: no memory.
  bool add(std::string_view key, std::uint64_t version) noexcept {
    if (count_ == capacity_ && !grow(capacity_ != 0 ? capacity_ * 2 : 64)) return false;
    if (key.size() > left_) {
      const std::size_t bytes = std::max(key.size(), std::clamp(bytes_, kChunkMin, kChunkMax));
      auto* chunk = static_cast<Chunk*>(alloc::private_allocate(sizeof(Chunk) + bytes));
      if (chunk == nullptr) return false;
      chunk->next = std::exchange(chunk_, chunk);
      at_ = reinterpret_cast<char*>(chunk + 1);
      left_ = bytes;
      bytes_ += bytes;
    }
    if (!key.empty()) std::memcpy(at_, key.data(), key.size());
    items_[count_++] = {at_, version, static_cast<std::uint32_t>(key.size()), 0};
    at_ += key.size();
    left_ -= key.size();
    return true;
  }

  // All of `other`'s, behind its own; nothing is left there. False: no memory, and both are as before.
  bool join(KeyList& other) noexcept {
    if (other.count_ == 0) return true;
    const std::size_t both = count_ + other.count_;
    if (both > capacity_ && !grow(both)) return false;
    std::memcpy(items_ + count_, other.items_, other.count_ * sizeof(Item));
    count_ = both;
    Chunk** last = &other.chunk_;
    while (*last != nullptr) last = &(*last)->next;
    // Its own newest chunk stays the first: there is room in it.
    if (chunk_ == nullptr) {
      chunk_ = other.chunk_;
    } else {
      *last = chunk_->next;
      chunk_->next = other.chunk_;
    }
    bytes_ += other.bytes_;
    other.chunk_ = nullptr;
    other.at_ = nullptr;
    other.count_ = other.left_ = other.bytes_ = 0;
    return true;
  }

  void sort(bool reverse) noexcept {
    KeySort::sort(items_, items_ + count_);
    if (reverse) std::reverse(items_, items_ + count_);
  }
  // Forgets all but the first `count` in order. False: no memory, and nothing is forgotten.
  bool keep_first(std::size_t count, bool reverse) noexcept {
    if (count >= count_) return true;
    std::nth_element(items_, items_ + count, items_ + count_,
                     [reverse](const Item& a, const Item& b) { return reverse ? b.key() < a.key() : a.key() < b.key(); });
    KeyList few;
    for (std::size_t i = 0; i != count; ++i) {
      if (!few.add(items_[i].key(), items_[i].version)) return false;
    }
    std::swap(items_, few.items_);
    std::swap(chunk_, few.chunk_);
    count_ = few.count_;
    capacity_ = few.capacity_;
    at_ = few.at_;
    left_ = few.left_;
    bytes_ = few.bytes_;
    return true;
  }

  std::size_t count() const noexcept { return count_; }
  Item* begin() noexcept { return items_; }
  Item* end() noexcept { return items_ + count_; }
  const Item& operator[](std::size_t i) const noexcept { return items_[i]; }

 private:
  static constexpr std::size_t kChunkMin = 1 << 10;
  static constexpr std::size_t kChunkMax = 1 << 20;
  struct Chunk {
    Chunk* next;
  };
  bool grow(std::size_t capacity) noexcept {
    auto* items = static_cast<Item*>(alloc::private_allocate(capacity * sizeof(Item)));
    if (items == nullptr) return false;
    if (count_ != 0) std::memcpy(items, items_, count_ * sizeof(Item));
    alloc::private_free(items_);
    items_ = items;
    capacity_ = capacity;
    return true;
  }

  Item* items_ = nullptr;
  std::size_t count_ = 0;
  std::size_t capacity_ = 0;
  Chunk* chunk_ = nullptr;
  char* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_KEY_BYTES_H_
