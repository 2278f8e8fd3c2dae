// A snapshot file by itself: what it says about itself, what it holds, whether it is whole.
#include <cstring>

#include <tern/snapshot.h>

#include "engine/directory.h"
#include "engine/lease_key.h"
#include "engine/tags.h"
#include "persist/reader.h"
#include "simd/hash.h"

namespace tern {
namespace {

using persist::BlockBuffer;
using persist::FileRecord;
using persist::Generations;
using persist::Header;
using persist::Reader;
using persist::Trouble;

std::chrono::milliseconds since_1970(std::uint64_t ms) noexcept { return std::chrono::milliseconds(static_cast<std::int64_t>(ms)); }

Error open(Reader& reader, std::string_view path, Trouble& trouble) noexcept {
  if (!Generations::is_path(path)) return trouble.refused("", {Status::kInvalidArgument, Field::kPath}, "this is no path of a file");
  return reader.open(Generations(path).file(0), trouble);
}

// fn(shard, block) -> bool whether to go on.
template <class Fn>
void for_each_block(const Reader& reader, Fn&& fn) noexcept {
  for (unsigned s = 0; s != reader.header().shard_count; ++s) {
    const auto& shard = reader.shard(s);
    for (std::uint64_t b = shard.first_block; b != shard.first_block + shard.block_count; ++b) {
      if (!fn(s, b)) return;
    }
  }
}

}  // namespace

bool has_codec(SnapshotCodec codec) noexcept { return persist::is_built_in(static_cast<persist::Codec>(codec)); }

Result<SnapshotInfo> inspect_snapshot(std::string_view path, SnapshotFault* fault) noexcept {
  Reader reader;
  Trouble trouble;
  const Error e = open(reader, path, trouble);
  if (fault != nullptr) *fault = trouble.fault;
  if (e.status != Status::kOk) return e;
  const Header& h = reader.header();
  SnapshotInfo info;
  info.format_version = h.format_version;
  info.generation = h.generation;
  info.entries = h.entries;
  info.file_bytes = h.file_bytes;
  info.blocks = h.block_count;
  info.shards = h.shard_count;
  for (std::uint64_t b = 0; b != h.block_count; ++b) {
    info.plain_bytes += reader.block(b).plain_bytes;
    if (reader.block(b).codec == static_cast<std::uint32_t>(persist::Codec::kNone)) continue;
    ++info.packed_blocks;
    info.codec = static_cast<SnapshotCodec>(reader.block(b).codec);
  }
  info.saved_at = since_1970(h.wall_ms);
  info.first_saved_at = since_1970(h.birth_wall_ms);
  info.version_max = h.version_max;
  info.version_base = h.version_base;
  info.memory_bytes = static_cast<std::size_t>(h.memory_bytes);
  std::memcpy(info.engine, h.engine, sizeof h.engine);
  std::memcpy(info.name, h.name, sizeof h.name);
  return info;
}

Result<bool> read_snapshot(std::string_view path, FunctionRef<bool(const SnapshotEntry&)> fn, SnapshotFault* fault) noexcept {
  Reader reader;
  Trouble trouble;
  Error e = open(reader, path, trouble);
  bool goes_on = true;
  if (e.status == Status::kOk) {
    const simd::HashKeys keys = simd::derive_keys(reader.header().hash_seed);
    BlockBuffer buffer;
    for_each_block(reader, [&](unsigned shard, std::uint64_t b) noexcept {
      e = reader.read_block(b, buffer, trouble);
      if (e.status != Status::kOk) return false;
      e = reader.for_each_record(b, shard, buffer, keys, trouble, [&](const FileRecord& r, std::uint64_t) noexcept -> Error {
        const detail::DirectoryPart part = detail::directory_part(r.key);
        if (part == detail::DirectoryPart::kOther) return {};
        SnapshotEntry entry{detail::own_key(r.key), detail::cleared_with(r.key), nullptr, r.value, r.version, std::nullopt, since_1970(r.span.idle_ms()), !r.keep, {}, {}};
        SnapshotNamespace made;
        if (part == detail::DirectoryPart::kRules) {
          detail::NameRules rules;
          made.name = entry.key;
          if (!detail::RulesBytes::read(r.value, made.name, rules)) return {Status::kCorrupt, Field::kName};
          made.options = options_of(rules);
          entry = {{}, rules.number, &made};
        }
        std::string_view tags[detail::TagBlock::kTagsMax];
        std::size_t tag_count = 0;
        detail::for_each_tag(r.tags, [&](std::string_view tag) noexcept {
          tags[tag_count++] = tag;
          return true;
        });
        entry.tags = {tags, tag_count};
        entry.metadata = detail::metadata_in(r.tags);
        entry.lease = detail::lease_in(r.tags);
        if (detail::is_lock(r.key)) {
          entry.kind = SnapshotEntry::Kind::kLock;
          entry.value = r.value.substr(r.value.empty() ? 0 : 1);  // locks.h
        } else if (detail::LeaseKey::is_one(r.key)) {
          entry.kind = SnapshotEntry::Kind::kLease;
          entry.key = entry.value = {};
          entry.lease = detail::LeaseKey::id_of(r.key);
        }
        if (r.has_deadline) entry.expires_at = since_1970(r.deadline_wall_ms);
        goes_on = fn(entry);
        return goes_on ? Error{} : Error{Status::kCancelled, Field::kNone};
      });
      return goes_on && e.status == Status::kOk;
    });
    if (!goes_on) return false;
  }
  if (fault != nullptr) *fault = trouble.fault;
  if (e.status != Status::kOk) return e;
  return true;
}

Result<void> verify_snapshot(std::string_view path, FunctionRef<void(const SnapshotFault&)> report, std::uint64_t* whole) noexcept {
  Reader reader;
  Trouble trouble;
  std::uint64_t entries = 0;
  Error first = open(reader, path, trouble);
  if (first.status != Status::kOk) {
    report(trouble.fault);
  } else {
    const simd::HashKeys keys = simd::derive_keys(reader.header().hash_seed);
    BlockBuffer buffer;
    for_each_block(reader, [&](unsigned shard, std::uint64_t b) noexcept {
      Error e = reader.read_block(b, buffer, trouble);
      if (e.status == Status::kOk) {
        e = reader.for_each_record(b, shard, buffer, keys, trouble, [&](const FileRecord&, std::uint64_t) noexcept {
          ++entries;
          return Error{};
        });
      }
      if (e.status != Status::kOk) {
        report(trouble.fault);
        if (first.status == Status::kOk) first = e;
      }
      return true;
    });
  }
  if (whole != nullptr) *whole = entries;
  return first.status == Status::kOk ? Result<void>() : Result<void>(first);
}

}  // namespace tern
