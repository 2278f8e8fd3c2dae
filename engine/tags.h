// Tags: names that an entry has beside its key, so that del_tag can remove all that have one of them. They lie behind the
// value, whole: what is compared is the tag itself, so no entry is ever removed for another tag's hash.
//
//   15 METADATA | 14..13 0 | 12..0 bytes of the block, these two included
//   [0 | lease, 8 bytes] | length of a tag (1 to 255) | its bytes | ... | [metadata | its length, 2 bytes]
//
// The lease that an entry is attached to (leases.h) lies before the tags, its metadata behind them: what carries the one carries
// the others. The length of the metadata lies last, so that it is found without a look at the tags.
#ifndef TERN_ENGINE_TAGS_H_
#define TERN_ENGINE_TAGS_H_

#include <tern/options.h>

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
  static constexpr std::size_t kTagsBytesMax = 1024;  // with their lengths and the block's

  static constexpr std::size_t kLeaseBytes = 1 + sizeof(std::uint64_t);
  static constexpr std::uint16_t kMetadata = 1u << 15;
  static constexpr std::uint16_t kBytesMask = (1u << 13) - 1;
  static constexpr std::size_t kBytesMax = kTagsBytesMax + kLeaseBytes + kMetadataBytesMax + sizeof(std::uint16_t);
  static_assert(kBytesMax <= kBytesMask, "a block's length has 13 bits");

  // False: too many, too long, or an empty one. No tags and no lease (0): an empty block.
  bool set(std::span<const std::string_view> tags, std::uint64_t lease = 0) noexcept {
    size_ = 0;
    if (tags.empty() && lease == 0) return true;
    if (tags.size() > kTagsMax) return false;
    std::size_t at = sizeof(std::uint16_t);
    std::size_t end = kTagsBytesMax;
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
    end_at(at, 0);
    return true;
  }
  // Up to kMetadataBytesMax bytes, in place of what it has; none: it has none then.
  void set_metadata(std::string_view metadata) noexcept;
  // Another block with this metadata, or with this lease.
  void set_metadata(std::string_view other, std::string_view metadata) noexcept;
  void set_lease(std::string_view other, std::uint64_t lease) noexcept;
  std::string_view block() const noexcept { return {bytes_, size_}; }

 private:
  void end_at(std::size_t at, std::uint16_t flags) noexcept {
    const auto word = static_cast<std::uint16_t>(at | flags);
    std::memcpy(bytes_, &word, sizeof word);
    size_ = at;
  }

  std::size_t size_ = 0;
  char bytes_[kBytesMax];
};

inline std::uint16_t tag_block_word(const char* at) noexcept {
  std::uint16_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}
// Of a block that begins there.
inline std::size_t tag_block_bytes(const char* at) noexcept { return tag_block_word(at) & TagBlock::kBytesMask; }
inline std::string_view metadata_in(std::string_view block) noexcept {
  if (block.empty() || (tag_block_word(block.data()) & TagBlock::kMetadata) == 0) return {};
  const std::size_t end = block.size() - sizeof(std::uint16_t);
  const std::size_t size = tag_block_word(block.data() + end);
  return block.substr(end - size, size);
}
// Where its metadata begins, or it ends.
inline std::size_t tags_end(std::string_view block) noexcept {
  const std::string_view metadata = metadata_in(block);
  return metadata.empty() ? block.size() : block.size() - sizeof(std::uint16_t) - metadata.size();
}
// Where its tags begin: behind the lease.
inline std::size_t tags_begin(std::string_view block) noexcept {
  constexpr std::size_t at = sizeof(std::uint16_t);
  return tags_end(block) > at && block[at] == 0 ? at + TagBlock::kLeaseBytes : at;
}
inline std::string_view tags_in(std::string_view block) noexcept {
  return block.empty() ? block : block.substr(tags_begin(block), tags_end(block) - tags_begin(block));
}
// 0: there is none.
inline std::uint64_t lease_in(std::string_view block) noexcept {
  std::uint64_t lease = 0;
  constexpr std::size_t at = sizeof(std::uint16_t);
  if (tags_end(block) > at && block[at] == 0) std::memcpy(&lease, block.data() + at + 1, sizeof lease);
  return lease;
}
inline void TagBlock::set_metadata(std::string_view metadata) noexcept {
  std::size_t at = size_ == 0 ? sizeof(std::uint16_t) : tags_end(block());
  if (metadata.empty()) {
    if (at == sizeof(std::uint16_t)) at = 0;
    return end_at(at, 0);
  }
  const auto size = static_cast<std::uint16_t>(metadata.size());
  std::memcpy(bytes_ + at, metadata.data(), metadata.size());
  std::memcpy(bytes_ + at + metadata.size(), &size, sizeof size);
  end_at(at + metadata.size() + sizeof size, kMetadata);
}
inline void TagBlock::set_metadata(std::string_view other, std::string_view metadata) noexcept {
  size_ = other.empty() ? 0 : tags_end(other);
  if (size_ != 0) {
    std::memcpy(bytes_, other.data(), size_);
    end_at(size_, 0);
  }
  set_metadata(metadata);
}
inline void TagBlock::set_lease(std::string_view other, std::uint64_t lease) noexcept {
  const std::string_view tags = tags_in(other);
  (void)set({}, lease);
  if (!tags.empty()) {
    if (size_ == 0) size_ = sizeof(std::uint16_t);
    std::memcpy(bytes_ + size_, tags.data(), tags.size());
    end_at(size_ + tags.size(), 0);
  }
  set_metadata(metadata_in(other));
}
// fn(std::string_view tag) -> bool whether to go on. The block is one, or empty.
template <class Fn>
void for_each_tag(std::string_view block, Fn&& fn) noexcept {
  for (std::size_t at = tags_begin(block), end = tags_end(block); at < end;) {
    const std::size_t size = static_cast<unsigned char>(block[at]);
    if (!fn(block.substr(at + 1, size))) return;
    at += 1 + size;
  }
}
// Whether a set could have made these bytes, however they came here. `with_metadata`: it could have given some.
inline bool is_tag_block(std::string_view bytes, bool with_metadata = true) noexcept {
  constexpr std::size_t head = sizeof(std::uint16_t);
  if (bytes.size() < head + 2) return false;
  std::size_t end = bytes.size();
  std::uint16_t word = tag_block_word(bytes.data());
  if (with_metadata && (word & TagBlock::kMetadata) != 0) {
    const std::size_t size = tag_block_word(bytes.data() + end - head);
    if (size == 0 || size > kMetadataBytesMax || size > end - 2 * head) return false;
    end -= size + head;
    word &= static_cast<std::uint16_t>(~TagBlock::kMetadata);
  }
  if (word != bytes.size()) return false;
  const bool lease = end > head && bytes[head] == 0;
  if (lease && end < head + TagBlock::kLeaseBytes) return false;
  if (end > TagBlock::kTagsBytesMax + (lease ? TagBlock::kLeaseBytes : 0)) return false;
  unsigned tags = 0;
  for (std::size_t at = head + (lease ? TagBlock::kLeaseBytes : 0); at != end; ++tags) {
    const std::size_t size = static_cast<unsigned char>(bytes[at]);
    if (size == 0 || size > end - at - 1) return false;
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
