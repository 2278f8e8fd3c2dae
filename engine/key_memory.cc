#include "engine/key_memory.h"

#include <cstring>
#include <new>
#include <utility>

#include "alloc/private_memory.h"

namespace tern::detail {

KeyMemory* KeyMemory::make(std::size_t bytes_max) noexcept {
  void* memory = alloc::private_allocate(sizeof(KeyMemory));
  if (memory == nullptr) return nullptr;
  KeyMemory* m = new (memory) KeyMemory(bytes_max);
  if (m->grow()) return m;
  destroy(m);
  return nullptr;
}

void KeyMemory::destroy(KeyMemory* m) noexcept {
  if (m == nullptr) return;
  m->clear_old();
  while (Entry* e = m->oldest_) {
    m->oldest_ = e->younger;
    alloc::private_free(e);
  }
  alloc::private_free(m->buckets_);
  m->~KeyMemory();
  alloc::private_free(m);
}

// Where the key's entry hangs, or would.
KeyMemory::Entry** KeyMemory::place_of(std::string_view key, std::uint64_t hash) const noexcept {
  Entry** at = &buckets_[hash & (bucket_count_ - 1)];
  while (*at != nullptr && ((*at)->hash != hash || (*at)->key() != key)) at = &(*at)->chain;
  return at;
}

KeyMemory::Known KeyMemory::find(std::string_view key, std::uint64_t hash) const noexcept {
  const Entry* e = *place_of(key, hash);
  if (e == nullptr) return {};
  return {true, e->is_there, e->value()};
}

void KeyMemory::put_away(Entry** at) noexcept {
  Entry* e = std::exchange(*at, (*at)->chain);
  (e->older != nullptr ? e->older->younger : oldest_) = e->younger;
  (e->younger != nullptr ? e->younger->older : youngest_) = e->older;
  bytes_ -= e->bytes();
  --size_;
  e->chain = std::exchange(old_, e);
}

void KeyMemory::clear_old() noexcept {
  while (Entry* e = old_) {
    old_ = e->chain;
    alloc::private_free(e);
  }
}

void KeyMemory::tell(std::string_view key, std::uint64_t hash, bool is_there, std::string_view value) noexcept {
  if (Entry** at = place_of(key, hash); *at != nullptr) put_away(at);
  const std::size_t bytes = sizeof(Entry) + key.size() + value.size();
  if (bytes > bytes_max_) return;
  while (bytes_ + bytes > bytes_max_) put_away(place_of(oldest_->key(), oldest_->hash));
  if (size_ == bucket_count_) (void)grow();
  void* memory = alloc::private_allocate(bytes);
  if (memory == nullptr) return;  // then it isn't known
  Entry* e = new (memory) Entry;
  e->hash = hash;
  e->key_size = static_cast<std::uint32_t>(key.size());
  e->is_there = is_there;
  e->value_size = value.size();
  std::memcpy(e->text(), key.data(), key.size());
  if (!value.empty()) std::memcpy(e->text() + key.size(), value.data(), value.size());
  Entry** at = &buckets_[hash & (bucket_count_ - 1)];
  e->chain = std::exchange(*at, e);
  e->older = youngest_;
  (youngest_ != nullptr ? youngest_->younger : oldest_) = e;
  youngest_ = e;
  bytes_ += bytes;
  ++size_;
}

// False: no memory; chains get longer.
bool KeyMemory::grow() noexcept {
  const std::size_t to = bucket_count_ == 0 ? kBucketsMin : bucket_count_ * 2;
  auto** buckets = static_cast<Entry**>(alloc::private_allocate(to * sizeof(Entry*)));
  if (buckets == nullptr) return false;
  for (std::size_t i = 0; i != to; ++i) buckets[i] = nullptr;
  for (Entry* e = oldest_; e != nullptr; e = e->younger) e->chain = std::exchange(buckets[e->hash & (to - 1)], e);
  alloc::private_free(std::exchange(buckets_, buckets));
  bucket_count_ = to;
  return true;
}

}  // namespace tern::detail
