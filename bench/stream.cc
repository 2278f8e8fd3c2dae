#include "bench/stream.h"

#include <algorithm>

namespace tern::bench {
namespace {

// As many operations as fit beside the store's own lines in a second-level cache; whole groups.
std::size_t chunk_capacity(std::uint32_t key_slot, unsigned batch) {
  constexpr std::size_t kBytes = std::size_t{256} << 10;
  const std::size_t wanted = std::clamp<std::size_t>(kBytes / (key_slot + 32), 256, 4096);
  return std::max<std::size_t>(wanted / batch, 1) * batch;
}

}  // namespace

ZipfDraws::ZipfDraws(std::uint64_t n, std::size_t count, std::uint64_t seed) {
  const Zipf zipf(n, kZipfTheta);
  Random random(seed);
  ranks_.resize(count);
  for (auto& rank : ranks_) rank = static_cast<std::uint32_t>(zipf.rank(random.unit()));
}

ChunkMaker::ChunkMaker(const Workload& workload, const KeyMaker& maker, const ZipfDraws* draws,
                       Part part)
    : workload_(workload),
      maker_(maker),
      draws_(draws),
      part_(part),
      random_(part.seed * 1024 + part.thread),
      capacity_(chunk_capacity(maker.key_slot(), part.batch)) {
  own_ = (part_.entries + part_.threads - 1 - part_.thread) / part_.threads;
  if (draws_ != nullptr && draws_->size() != 0) draw_at_ = random_.below(draws_->size());
  chunk_.keys.resize(capacity_);
  chunk_.kinds.resize(capacity_);
  chunk_.heads.resize(capacity_);
  chunk_.value_bytes.resize(capacity_);
  bytes_.resize(capacity_ * maker_.key_slot());
  scratch_.resize(maker_.key_slot());
}

std::uint64_t ChunkMaker::draw() noexcept {
  const auto zipf = [this] {
    const std::uint64_t rank = (*draws_)[draw_at_];
    if (++draw_at_ == draws_->size()) draw_at_ = 0;
    return rank;
  };
  switch (workload_.distribution) {
    case Distribution::kUniform:
      return random_.below(part_.entries);
    case Distribution::kZipf:
      return scramble(zipf(), part_.entries);
    case Distribution::kLatest:
      // The most popular is the one inserted last; each thread reads the latest of its own share.
      return nth_own(own_ + inserted_ - 1 - zipf() % own_);
  }
  return 0;
}

Kind ChunkMaker::draw_kind() noexcept {
  double u = random_.unit() * 100;
  if ((u -= workload_.set) < 0) return Kind::kSet;
  if ((u -= workload_.insert) < 0) return Kind::kInsert;
  if ((u -= workload_.read_modify_write) < 0) return Kind::kReadModifyWrite;
  if ((u -= workload_.del) < 0) return Kind::kDelete;
  return Kind::kGet;
}

void ChunkMaker::put(std::size_t at, Kind kind, std::uint64_t index) {
  char* const bytes = bytes_.data() + at * maker_.key_slot();
  chunk_.keys[at] = {bytes, maker_.key(index, bytes)};
  chunk_.kinds[at] = kind;
  chunk_.heads[at] = KeyMaker::value_head(index);
  chunk_.value_bytes[at] = maker_.value_bytes(index);
  if (kind == Kind::kGet || kind == Kind::kReadModifyWrite) {
    ++chunk_.gets;
    chunk_.heads_sum += chunk_.heads[at];
  }
}

const Chunk& ChunkMaker::next() {
  chunk_.gets = 0;
  chunk_.heads_sum = 0;
  if (workload_.fill) {
    chunk_.size = static_cast<std::size_t>(std::min<std::uint64_t>(capacity_, own_ - filled_));
    for (std::size_t i = 0; i < chunk_.size; ++i) put(i, Kind::kSet, nth_own(filled_ + i));
    filled_ += chunk_.size;
    return chunk_;
  }
  chunk_.size = capacity_;
  Kind kind = Kind::kGet;
  for (std::size_t i = 0; i < capacity_; ++i) {
    // A group is all of one kind: get_many and set_many take nothing else.
    if (i % part_.batch == 0) kind = draw_kind();
    if (kind == Kind::kInsert) {
      put(i, kind, nth_own(own_ + inserted_++));
    } else if (workload_.missing_keys) {
      put(i, kind, KeyMaker::kMissing + random_.below(0xFFFF'FFFFu));
    } else {
      put(i, kind, draw());
    }
  }
  return chunk_;
}

}  // namespace tern::bench
