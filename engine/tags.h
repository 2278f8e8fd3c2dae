// Tags: names that an entry has beside its key, so that del_tag can remove all that have one of them. They lie behind the
// value, whole: what is compared is the tag itself, so no entry is ever removed for another tag's hash.
//
//   15..0 bytes of the block, these two included | [0 | lease, 8 bytes] | length of a tag (1 to 255) | its bytes | ...
//
// The lease that an entry is attached to (leases.h) lies before the tags: what carries the one carries the other.
#ifndef TERN_ENGINE_TAGS_H_
#define TERN_ENGINE_TAGS_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace tern::detail {

// A block in the making.
class TagBlock {
 public:
  static constexpr std::size_t kTagsMax = 16;
  static constexpr std::size_t kTagBytesMax = 255;
  static constexpr std::size_t kBytesMax = 1024;

  static constexpr std::size_t kLeaseBytes = 1 + sizeof(std::uint64_t);

  // False: too many, too long, or an empty one. No tags and no lease (0): an empty block.
  bool set(std::span<const std::string_view> tags, std::uint64_t lease = 0) noexcept {
    size_ = 0;
    if (tags.empty() && lease == 0) return true;
    if (tags.size() > kTagsMax) return false;
    std::size_t at = sizeof(std::uint16_t);
    std::size_t end = kBytesMax;
    if (lease != 0) {
      bytes_[at] = 0;
      std::memcpy(bytes_ + at + 1, &lease, sizeof lease);
      at += kLeaseBytes;
      end += kLeaseBytes;
    }
    for (const std::string_view tag : tags) {
      if (tag.empty() || tag.size() > kTagBytesMax || tag.size() + 1 > end - at) return false;
      bytes_[at] = static_cast<char>(tag.size());
      std::memcpy(bytes_ + at + 1, tag.data(), tag.size());
      at += 1 + tag.size();
    }
    const auto size = static_cast<std::uint16_t>(at);
    std::memcpy(bytes_, &size, sizeof size);
    size_ = at;
    return true;
  }
  // The tags of another block, and this lease.
  void set_lease(std::string_view other, std::uint64_t lease) noexcept;
  std::string_view block() const noexcept { return {bytes_, size_}; }

 private:
  std::size_t size_ = 0;
  char bytes_[kBytesMax + kLeaseBytes];
};

// Where a block begins: its size.
inline std::size_t tag_block_bytes(const char* at) noexcept {
  std::uint16_t size;
  std::memcpy(&size, at, sizeof size);
  return size;
}
// Where its tags begin: behind the lease.
inline std::size_t tags_begin(std::string_view block) noexcept {
  constexpr std::size_t at = sizeof(std::uint16_t);
  return block.size() > at && block[at] == 0 ? at + TagBlock::kLeaseBytes : at;
}
// 0: there is none.
inline std::uint64_t lease_in(std::string_view block) noexcept {
  std::uint64_t lease = 0;
  constexpr std::size_t at = sizeof(std::uint16_t);
  if (block.size() > at && block[at] == 0) std::memcpy(&lease, block.data() + at + 1, sizeof lease);
  return lease;
}
inline void TagBlock::set_lease(std::string_view other, std::uint64_t lease) noexcept {
  const std::string_view tags = other.empty() ? other : other.substr(tags_begin(other));
  (void)set({}, lease);
  if (!tags.empty()) std::memcpy(bytes_ + size_, tags.data(), tags.size());
  size_ += tags.size();
  const auto size = static_cast<std::uint16_t>(size_);
  std::memcpy(bytes_, &size, sizeof size);
}
// fn(std::string_view tag) -> bool whether to go on. The block is one, or empty.
template <class Fn>
void for_each_tag(std::string_view block, Fn&& fn) noexcept {
  for (std::size_t at = tags_begin(block); at < block.size();) {
    const std::size_t size = static_cast<unsigned char>(block[at]);
    if (!fn(block.substr(at + 1, size))) return;
    at += 1 + size;
  }
}
// Whether a set could have made these bytes, however they came here.
inline bool is_tag_block(std::string_view bytes) noexcept {
  if (bytes.size() < sizeof(std::uint16_t) + 2 || tag_block_bytes(bytes.data()) != bytes.size()) return false;
  const bool lease = bytes[sizeof(std::uint16_t)] == 0;
  if (lease && bytes.size() < sizeof(std::uint16_t) + TagBlock::kLeaseBytes) return false;
  if (bytes.size() > TagBlock::kBytesMax + (lease ? TagBlock::kLeaseBytes : 0)) return false;
  unsigned tags = 0;
  for (std::size_t at = tags_begin(bytes); at != bytes.size(); ++tags) {
    const std::size_t size = static_cast<unsigned char>(bytes[at]);
    if (size == 0 || size > bytes.size() - at - 1) return false;
    at += 1 + size;
  }
  return tags <= TagBlock::kTagsMax && (!lease || lease_in(bytes) != 0);
}
inline bool has_tag(std::string_view block, std::string_view tag) noexcept {
  bool has = false;
  for_each_tag(block, [&](std::string_view t) noexcept { return !(has = t == tag); });
  return has;
}

}  // namespace tern::detail

#endif  // TERN_ENGINE_TAGS_H_
