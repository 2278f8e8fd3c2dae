// Metadata: names and values as the metadata of an entry (SetOptions::metadata), for who has no form of his own for them.
//
//   tern::Metadata about;
//   about.set("author", "ann");
//   about.set("type", "image/png");
//   store.set("picture:7", bytes, {.metadata = about.view()});
//
//   auto read = store.get_metadata("picture:7");
//   if (read && about.assign(*read)) show(about.find("type").value_or("unknown"));
//
// The bytes, in the order of the names:  length of the name (1) | name | length of the value (2, little-endian) | value
#ifndef TERN_METADATA_H_
#define TERN_METADATA_H_

#include <tern/options.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace tern {

// A list of pairs in 4 KiB of its own; no call allocates or throws. Names are 1 to 255 bytes, each once, values any bytes. Look-ups
// go over the list. Belongs to one thread at a time.
class Metadata {
 public:
  Metadata() noexcept = default;

  // What another one's view() has shown. False: these bytes are no pairs, and it is empty now.
  bool assign(std::string_view bytes) noexcept {
    size_ = 0;
    if (bytes.size() > kMetadataBytesMax) return false;
    if (!bytes.empty()) std::memcpy(bytes_, bytes.data(), bytes.size());
    std::string_view before;
    for (std::size_t at = 0; at != bytes.size();) {
      Pair p;
      if (!read(at, bytes.size(), p) || p.name.empty() || p.name <= before) return false;
      before = p.name;
      at = p.end;
    }
    size_ = bytes.size();
    return true;
  }
  // Adds the pair, or gives the name this value. False: no such name can be, or there is no room; nothing has changed. The bytes
  // are copied, and may not be this object's own.
  bool set(std::string_view name, std::string_view value) noexcept {
    if (name.empty() || name.size() > 255) return false;
    Pair p;
    const std::size_t at = place_of(name, p);
    const std::size_t had = p.end - at;  // 0: it is new
    if (value.size() > kMetadataBytesMax || kHeads + name.size() + value.size() > kMetadataBytesMax - (size_ - had)) return false;
    const std::size_t bytes = kHeads + name.size() + value.size();
    std::memmove(bytes_ + at + bytes, bytes_ + at + had, size_ - at - had);
    size_ = size_ - had + bytes;
    bytes_[at] = static_cast<char>(name.size());
    std::memcpy(bytes_ + at + 1, name.data(), name.size());
    bytes_[at + 1 + name.size()] = static_cast<char>(value.size() & 255);
    bytes_[at + 2 + name.size()] = static_cast<char>(value.size() >> 8);
    if (!value.empty()) std::memcpy(bytes_ + at + kHeads + name.size(), value.data(), value.size());
    return true;
  }
  // Whether the name was there.
  bool erase(std::string_view name) noexcept {
    Pair p;
    const std::size_t at = place_of(name, p);
    if (p.end == at) return false;
    std::memmove(bytes_ + at, bytes_ + p.end, size_ - p.end);
    size_ -= p.end - at;
    return true;
  }
  void clear() noexcept { size_ = 0; }

  // Good until the next change.
  std::optional<std::string_view> find(std::string_view name) const noexcept {
    Pair p;
    if (place_of(name, p) == p.end) return std::nullopt;
    return p.value;
  }
  // fn(std::string_view name, std::string_view value), in the order of the names' bytes.
  template <class Fn>
  void for_each(Fn&& fn) const {
    Pair p;
    for (std::size_t at = 0; at != size_ && read(at, size_, p); at = p.end) fn(p.name, p.value);
  }
  bool empty() const noexcept { return size_ == 0; }
  std::string_view view() const noexcept { return {bytes_, size_}; }

 private:
  static constexpr std::size_t kHeads = 3;  // bytes of both lengths
  struct Pair {
    std::string_view name{}, value{};
    std::size_t end = 0;  // of its bytes
  };

  // False: it goes over the end.
  bool read(std::size_t at, std::size_t end, Pair& p) const noexcept {
    const std::size_t name = static_cast<unsigned char>(bytes_[at]);
    if (kHeads + name > end - at) return false;
    const char* const length = bytes_ + at + 1 + name;
    const std::size_t value = static_cast<unsigned char>(length[0]) | std::size_t{static_cast<unsigned char>(length[1])} << 8;
    if (value > end - at - kHeads - name) return false;
    p = {{bytes_ + at + 1, name}, {length + 2, value}, at + kHeads + name + value};
    return true;
  }
  // Where the name's pair begins, and the pair; or where it would, and p.end is the same.
  std::size_t place_of(std::string_view name, Pair& p) const noexcept {
    for (std::size_t at = 0; at != size_ && read(at, size_, p); at = p.end) {
      if (p.name == name) return at;
      if (p.name > name) return p.end = at;
    }
    return p.end = size_;
  }

  std::size_t size_ = 0;
  char bytes_[kMetadataBytesMax];
};

}  // namespace tern

#endif  // TERN_METADATA_H_
