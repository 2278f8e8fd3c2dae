#include "persist/arena_file.h"

#include <cerrno>
#include <cstring>
#include <new>

#include "simd/checksum.h"

namespace tern::persist {

namespace platform = alloc::platform;

std::uint64_t ArenaHeader::sum() const noexcept { return simd::checksum(this, offsetof(ArenaHeader, checksum), kArenaLayout); }

ArenaFile::~ArenaFile() {
  if (front_ != nullptr) {
    // All that the store wrote lies before this.
    auto* const state = reinterpret_cast<std::atomic<std::uint64_t>*>(front_ + kStateAt);
    if (is_in_place_) state->store(kClosed, std::memory_order_relaxed);  // read when this process is gone
    platform::release(front_, kHeapAt);
  }
  if (file_.is_open() && !is_in_place_) platform::remove_file(names_.renewed().text);
  platform::close_file(file_);
}

Error ArenaFile::lock(Trouble& trouble) noexcept {
  const Error e = names_.lock(trouble);
  if (e.status != Status::kUnavailable) return e;
  return trouble.refused(names_.lock_name().text, e, "another store or process has the store that lies there");
}

Error ArenaFile::create(Trouble& trouble) noexcept {
  const FileName name = names_.renewed();
  // One that a killed process left may still be mapped by a child of it.
  if (const int error = platform::remove_file(name.text); error != 0 && error != ENOENT) {
    return trouble.system(name.text, "what an interrupted attach left can't be removed", error);
  }
  int error = 0;
  file_ = platform::open_file(name.text, platform::OpenMode::kCreate, &error);
  if (error != 0) return trouble.system(name.text, "the store's file can't be made", error);
  error = platform::back_file(file_, 0, kRootsAt);
  if (error == 0) return {};
  if (error == ENOSPC) return trouble.refused(name.text, {Status::kOutOfMemory, Field::kPath}, "its file system is full");
  if (error == EOPNOTSUPP) {
    return trouble.refused(name.text, {Status::kUnsupported, Field::kPath}, "its file system can't take room for a file beforehand");
  }
  return trouble.system(name.text, "room for the store's file can't be taken", error);
}

std::byte* ArenaFile::roots(unsigned shards) noexcept {
  if (front_ == nullptr) {
    if (platform::truncate_file(file_, kHeapAt) != 0) return nullptr;
    if (platform::back_file(file_, kRootsAt, detail::Roots<detail::StdSync>::bytes(shards)) != 0) return nullptr;
    front_ = static_cast<std::byte*>(platform::map_shared(file_, 0, kHeapAt, platform::kPageBytes));
  }
  return front_ != nullptr ? front_ + kRootsAt : nullptr;
}

Error ArenaFile::take_place(const detail::StoreCore& store, bool own_clock, Trouble& trouble) noexcept {
  const auto& core = store.core;
  ArenaHeader h{};
  std::memcpy(h.magic, kArenaMagic, sizeof h.magic);
  h.layout = kArenaLayout;
  h.shard_count = core.table.shard_count();
  h.fingerprint = layout_fingerprint();
  h.heap_bytes = core.space.heap.range_bytes();
  h.chunk_shift = core.table.chunk_shift();
  h.hash_seed = core.space.seed;
  h.version_base = core.space.version_base;
  h.birth_wall_ms = store.birth_wall_ms;
  h.own_clock = own_clock ? 1 : 0;
  const FileName from = names_.renewed(), to = names_.file(0);
  if (!platform::boot_id(h.boot)) {
    return trouble.refused(from.text, {Status::kUnsupported, Field::kPath}, "which start of the machine this is can't be known");
  }
  h.checksum = h.sum();
  std::memcpy(front_, &h, sizeof h);
  auto* const state = new (front_ + kStateAt) std::atomic<std::uint64_t>;
  state->store(kInUse, std::memory_order_relaxed);  // read when this process is gone
  if (const int error = platform::rename_file(from.text, to.text)) {
    return trouble.system(to.text, "the new file can't take its place", error);
  }
  is_in_place_ = true;
  return {};
}

void ArenaFile::in_forked_child() noexcept {
  if (front_ != nullptr) platform::make_private(front_, kHeapAt, file_, 0);
  platform::close_file(file_);
  names_.unlock();  // of this process; the parent has it still
}

}  // namespace tern::persist
