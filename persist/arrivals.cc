#include "persist/arrivals.h"

#include <algorithm>
#include <new>

#include "alloc/platform.h"
#include "alloc/private_memory.h"
#include "engine/growth.h"

namespace tern::persist {

namespace platform = alloc::platform;

Arrivals::~Arrivals() {
  alloc::private_free(reach_);
  alloc::private_free(state_);
  alloc::private_free(error_);
}

Error Arrivals::open(const FileName& name, Trouble& trouble) noexcept {
  if (const Error e = reader_.open(name, trouble); e.status != Status::kOk) return e;
  const std::uint64_t blocks = reader_.header().block_count;
  reach_ = static_cast<std::uint64_t*>(alloc::private_allocate(blocks * sizeof *reach_));
  state_ = static_cast<Gate::Word*>(alloc::private_allocate(blocks * sizeof *state_));
  error_ = static_cast<Error*>(alloc::private_allocate(blocks * sizeof *error_));
  if (reach_ == nullptr || state_ == nullptr || error_ == nullptr) {
    return trouble.refused(name.text, {Status::kOutOfMemory, Field::kNone}, "no memory for the blocks' states");
  }
  for (unsigned s = 0; s != reader_.header().shard_count; ++s) {
    const ShardEntry& shard = reader_.shard(s);
    std::uint64_t reach = 0;
    for (std::uint64_t b = shard.first_block; b != shard.first_block + shard.block_count; ++b) {
      reach = std::max(reach, reader_.block(b).last_place);
      reach_[b] = reach;
      new (state_ + b) Gate::Word(Gate::kWaiting);
      error_[b] = {};
    }
  }
  gate_.begin(blocks);
  return {};
}

void Arrivals::serve(detail::StoreCore& store, const Instant& opened) noexcept {
  store_ = &store;
  opened_ = opened;
  if (pieces_left() != 0) {
    store.expect(*this);
  } else {
    reader_.close_file();
  }
}

Error Arrivals::bring(Thr& t, std::uint64_t hash) noexcept {
  const unsigned shard = shard_of(hash, reader_.header().shard_count);
  const std::uint64_t place = place_of(hash);
  const ShardEntry& s = reader_.shard(shard);
  // The first that begins past the key; all that could hold it lie before.
  std::uint64_t low = s.first_block, high = s.first_block + s.block_count;
  while (low != high) {
    const std::uint64_t middle = low + (high - low) / 2;
    if (reader_.block(middle).first_place <= place) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  while (low != s.first_block && reach_[low - 1] >= place) {
    --low;
    if (reader_.block(low).last_place < place) continue;
    if (const Error e = bring_block(t, shard, low); e.status != Status::kOk) return e;
  }
  return {};
}

Error Arrivals::bring_all(Thr& t) noexcept {
  for (unsigned shard = 0; shard != reader_.header().shard_count; ++shard) {
    const ShardEntry& s = reader_.shard(shard);
    for (std::uint64_t b = s.first_block; b != s.first_block + s.block_count; ++b) {
      if (const Error e = bring_block(t, shard, b); e.status != Status::kOk) return e;
    }
  }
  return {};
}

bool Arrivals::bring_some(Thr& t) noexcept {
  const std::uint64_t blocks = reader_.header().block_count;
  for (std::uint64_t n = next_.load(std::memory_order_relaxed); n < blocks;) {  // shared out by the additions below
    n = next_.fetch_add(1, std::memory_order_relaxed);                          // as above
    if (n >= blocks) break;
    if (state_[n].load(std::memory_order_relaxed) != Gate::kWaiting) continue;  // a hint: bring_block looks again
    if (bring_block(t, shard_of_block(n), n).status == Status::kOutOfMemory) {
      next_.store(n, std::memory_order_relaxed);  // later; whoever asks for it tries it, too
      return false;
    }
    return true;
  }
  return false;
}

unsigned Arrivals::shard_of_block(std::uint64_t block) const noexcept {
  unsigned low = 0, high = reader_.header().shard_count;
  while (high - low > 1) {
    const unsigned middle = (low + high) / 2;
    (reader_.shard(middle).first_block <= block ? low : high) = middle;
  }
  return low;
}

Error Arrivals::bring_block(Thr& t, unsigned shard, std::uint64_t b) noexcept {
  Error e;
  bool brought = false;
  const auto bring = [&]() noexcept {
    brought = true;
    e = load(t, shard, b);
    if (e.status == Status::kOk) return Gate::kDone;
    if (e.status == Status::kOutOfMemory) return Gate::kWaiting;
    error_[b] = e;
    return Gate::kFailed;
  };
  const auto last = [&]() noexcept {
    reader_.close_file();
    store_->complete();
    tell_left_out(*store_, left_out_.load(std::memory_order_relaxed));  // [arrival] the last sees them all
  };
  const Gate::State state = gate_.bring(state_[b], bring, []() noexcept { platform::yield_processor(); }, last);
  if (brought) {
    store_->core.hand_out_removals(t);
    return e;
  }
  return state == Gate::kFailed ? error_[b] : Error{};
}

Error Arrivals::load(Thr& t, unsigned shard, std::uint64_t b) noexcept {
  Trouble trouble;
  BlockBuffer buffer;
  Placing placing(reader_, *store_, opened_);
  Error e = reader_.read_block(b, buffer, trouble);
  if (e.status == Status::kOk) e = placing.place_block(t, shard, b, buffer, Placing::Others::kInside, trouble);
  if (e.status == Status::kOk) grow(t);
  t.counters.expired.add(placing.expired);
  left_out_.fetch_add(placing.left_out, std::memory_order_relaxed);  // [arrival] comes with the block's state
  if (e.status != Status::kOk && e.status != Status::kOutOfMemory) store_->log(TroubleText(trouble.fault).text);
  return e;
}

// A block brings its share of the table that was asked for (Options::entries_expected), beyond what its entries need.
void Arrivals::grow(Thr& t) noexcept {
  auto& core = store_->core;
  const std::uint64_t blocks = reader_.header().block_count;
  const std::uint64_t brought = blocks - std::min(pieces_left() - 1, blocks);  // this one, too; others may come at the same time
  const auto wanted = static_cast<std::uint32_t>(store_->buckets_expected * brought / blocks);
  for (unsigned s = 0; s != core.table.shard_count(); ++s) {
    auto& shard = core.table.shard(s);
    while (detail::Table<detail::StdSync>::size_of(shard).buckets() < wanted) {
      const detail::Guard<detail::StdSync> guard(core.space, t);
      if (!detail::Growth<detail::StdSync>::grow_one(core.table, t, shard)) return;  // a hint is no reason to refuse anything
    }
  }
}

}  // namespace tern::persist
