// Arrivals: a snapshot that serves while it is loaded. Its blocks are brought one by one: by a call that asks for a key
// in it, by maintenance in the order of the file, and all of them by a call on more than one key.
//
// Who brings a block and who waits for that is block_gate.h's; DONE: it is verified, and each of its records in the store,
// expired, or left out. FAILED: damaged; calls on its keys get the error, and so do calls on all.
//
// 1. A call on a key looks at the store only after the blocks that could hold the key are DONE (Call::begin_slowly). So no
//    entry of a block that isn't DONE has been read, changed or removed by anybody, and its records enter as absent keys.
// 2. One thread brings a block; others that want it wait for that thread. Bringing calls nothing of the host but
//    weigher and clock: what it evicts is told after the block is DONE, so a host that calls the store from there finds no
//    block that waits for itself.
// 3. Which blocks could hold a key: those of the key's shard whose places go past the key's. They are sorted by their first
//    place; `reach` is the greatest last place of a block and those before it, so the search ends where it can.
#ifndef TERN_PERSIST_ARRIVALS_H_
#define TERN_PERSIST_ARRIVALS_H_

#include <atomic>
#include <cstdint>

#include "engine/store_core.h"
#include "persist/block_gate.h"
#include "persist/placing.h"
#include "persist/reader.h"

namespace tern::persist {

class Arrivals final : public detail::Incoming {
 public:
  using Thr = detail::Thread<detail::StdSync>;

  Arrivals() = default;
  ~Arrivals() override;

  // Header and directory. Before anything else; once.
  Error open(const FileName& name, Trouble& trouble) noexcept;
  const Reader& reader() const noexcept { return reader_; }
  // All was copied: the file isn't needed.
  void let_go() noexcept { reader_.close_file(); }
  // The store has no entry yet, and nobody else has it.
  void serve(detail::StoreCore& store, const Instant& opened) noexcept;

  Error bring(Thr& t, std::uint64_t hash) noexcept override;
  Error bring_all(Thr& t) noexcept override;
  bool bring_some(Thr& t) noexcept override;
  std::uint64_t pieces_left() const noexcept override { return gate_.left(); }

 private:
  using Gate = BlockGate<detail::StdSync>;
  Error bring_block(Thr& t, unsigned shard, std::uint64_t block) noexcept;
  Error load(Thr& t, unsigned shard, std::uint64_t block) noexcept;
  void grow(Thr& t) noexcept;
  unsigned shard_of_block(std::uint64_t block) const noexcept;

  Reader reader_;
  detail::StoreCore* store_ = nullptr;
  Instant opened_;
  std::uint64_t* reach_ = nullptr;
  Gate gate_;
  Gate::Word* state_ = nullptr;
  Error* error_ = nullptr;               // of those that FAILED
  std::atomic<std::uint64_t> next_{0};   // where maintenance goes on
  std::atomic<std::uint64_t> left_out_{0};  // entries, for want of room
};

}  // namespace tern::persist

#endif  // TERN_PERSIST_ARRIVALS_H_
