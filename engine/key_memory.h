// KeyMemory: what a watch has told last of each key, as far as its bytes go: what came before a change, and whether a change
// changes anything. The key that was told longest ago is forgotten first. Private memory; one thread at a time.
#ifndef TERN_ENGINE_KEY_MEMORY_H_
#define TERN_ENGINE_KEY_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tern::detail {

class KeyMemory {
 public:
  struct Known {
    bool is_known = false;
    bool is_there = false;  // the key had a value
    std::string_view value{};
  };

  // Null: no memory.
  static KeyMemory* make(std::size_t bytes_max) noexcept;
  static void destroy(KeyMemory* memory) noexcept;

  Known find(std::string_view key, std::uint64_t hash) const noexcept;
  // The key is told: with this value, or without one. What was known of it stays readable until clear_old().
  void tell(std::string_view key, std::uint64_t hash, bool is_there, std::string_view value) noexcept;
  // What was known of the keys of which fn(key, hash) is true; as above. Asks for all.
  template <class Fn>
  void forget(Fn&& fn) noexcept {
    for (Entry* e = oldest_; e != nullptr;) {
      Entry* const next = e->younger;
      if (fn(e->key(), e->hash)) put_away(place_of(e->key(), e->hash));
      e = next;
    }
  }
  void clear_old() noexcept;
  std::size_t bytes() const noexcept { return bytes_; }
  std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t kBucketsMin = 64;

  // Key and value behind it.
  struct Entry {
    std::uint64_t hash = 0;
    Entry* chain = nullptr;
    Entry* older = nullptr;
    Entry* younger = nullptr;
    std::uint32_t key_size = 0;
    bool is_there = false;
    std::size_t value_size = 0;
    char* text() noexcept { return reinterpret_cast<char*>(this + 1); }
    std::string_view key() const noexcept { return {reinterpret_cast<const char*>(this + 1), key_size}; }
    std::string_view value() const noexcept { return {reinterpret_cast<const char*>(this + 1) + key_size, value_size}; }
    std::size_t bytes() const noexcept { return sizeof(Entry) + key_size + value_size; }
  };

  explicit KeyMemory(std::size_t bytes_max) noexcept : bytes_max_(bytes_max) {}
  ~KeyMemory() = default;
  Entry** place_of(std::string_view key, std::uint64_t hash) const noexcept;
  void put_away(Entry** at) noexcept;
  bool grow() noexcept;

  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::size_t size_ = 0;
  Entry** buckets_ = nullptr;
  std::size_t bucket_count_ = 0;  // a power of two
  Entry* oldest_ = nullptr;
  Entry* youngest_ = nullptr;
  Entry* old_ = nullptr;  // put away, chained
};

}  // namespace tern::detail

#endif  // TERN_ENGINE_KEY_MEMORY_H_
