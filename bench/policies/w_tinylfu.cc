// W-TinyLFU (Einziger, Friedman, Manes, TOS 2017; the window adapts): a window (LRU) before a main
// area (segmented LRU: a fifth probation, the rest protected). Who leaves the window takes the
// place of the oldest in probation if a sketch of all accesses saw it more often. The window's
// share follows the density of hits: where a place brings more of them, in the window or in
// probation, there a place more is given.
#include <algorithm>
#include <array>

#include "bench/policies/lists.h"

namespace tern::bench {
namespace {

// A count-min sketch of four-bit counters, sixteen for each object that fits, all halved every
// twenty accesses for each of these.
class Frequency {
 public:
  explicit Frequency(std::uint64_t objects) : period_(20 * objects + 10) {
    std::uint64_t size = 64;
    while (size < objects * 16) size *= 2;
    counters_.resize(size);
  }
  unsigned count(Key key) const {
    unsigned least = 15;
    for (unsigned i = 0; i < 4; ++i) least = std::min<unsigned>(least, counters_[at(key, i)]);
    return least;
  }
  void add(Key key) {
    const unsigned least = count(key);
    for (unsigned i = 0; least < 15 && i < 4; ++i) {
      std::uint8_t& counter = counters_[at(key, i)];
      if (counter == least) ++counter;
    }
    if (++added_ < period_) return;
    added_ = 0;
    for (std::uint8_t& counter : counters_) counter /= 2;
  }

 private:
  std::size_t at(Key key, unsigned i) const {
    static constexpr std::array<std::uint64_t, 4> kFactors = {
        0x97CB'3127'A1F3'5B27u, 0xBE98'F273'C5A1'94D9u, 0x9ABC'35F2'7D5E'88C3u,
        0x8B12'ED45'6F9A'3B71u};
    std::uint64_t h = (key + 1) * kFactors[i];
    h = (h ^ h >> 32) * kFactors[i ^ 1];
    return static_cast<std::size_t>(h >> 32) & (counters_.size() - 1);
  }

  std::vector<std::uint8_t> counters_;
  std::uint64_t added_ = 0;
  const std::uint64_t period_;
};

class WTinyLfu final : public Policy {
 public:
  WTinyLfu(const DenseTrace& trace, std::uint64_t capacity, std::uint64_t objects_that_fit)
      : sizes_(trace.sizes),
        capacity_(capacity),
        share_(std::max<std::uint64_t>(1, capacity / 100)),
        period_(std::max<std::uint64_t>(kPeriodMin, objects_that_fit)),
        links_(trace.objects()),
        window_(links_, sizes_),
        probation_(links_, sizes_),
        protected_(links_, sizes_),
        where_(trace.objects()),
        frequency_(objects_that_fit) {}

  bool access(Key key) override {
    frequency_.add(key);
    const bool hit = where_[key] != kAbsent;
    if (where_[key] == kWindow) {
      ++window_hits_;
      window_.remove(key);
      window_.push(key);
    } else if (hit) {
      if (where_[key] == kProbation) ++probation_hits_;
      list(where_[key]).remove(key);
      move(key, kProtected);
      while (protected_.size() > (capacity_ - share_) / 5 * 4) move(protected_.pop(), kProbation);
    } else if (sizes_[key] <= capacity_) {
      move(key, kWindow);
      while (window_.size() > share_ && window_.count() > 1) admit(window_.pop());
      while (used() > capacity_) evict();
    }
    if (++accesses_ >= period_) adapt();
    return hit;
  }
  std::uint64_t used() const override {
    return window_.size() + probation_.size() + protected_.size();
  }

 private:
  enum Place : std::uint8_t { kAbsent, kWindow, kProbation, kProtected };
  static constexpr std::uint64_t kPeriodMin = 500;

  List& list(std::uint8_t place) {
    return place == kWindow ? window_ : place == kProbation ? probation_ : protected_;
  }
  void move(Key key, Place place) {
    where_[key] = place;
    list(place).push(key);
  }
  // The oldest of main, or of the window where main is empty.
  void evict() {
    List& from = !probation_.empty() ? probation_ : !protected_.empty() ? protected_ : window_;
    where_[from.pop()] = kAbsent;
  }
  // A key that left the window: into probation, if that needs no better key to go.
  void admit(Key key) {
    where_[key] = kAbsent;
    const std::uint64_t size = sizes_[key];
    while (used() + size > capacity_) {
      List& from = !probation_.empty() ? probation_ : protected_;
      if (from.empty() || frequency_.count(key) <= frequency_.count(from.oldest())) return;
      where_[from.pop()] = kAbsent;
    }
    move(key, kProbation);
  }

  void adapt() {
    const auto density = [](std::uint64_t hits, std::uint64_t size) {
      return static_cast<double>(hits) / static_cast<double>(std::max<std::uint64_t>(size, 1));
    };
    const std::uint64_t step = std::max<std::uint64_t>(1, capacity_ / 50);
    const std::uint64_t least = std::max<std::uint64_t>(1, capacity_ / 100),
                        most = capacity_ / 5 * 4;
    if (density(window_hits_, window_.size()) > density(probation_hits_, probation_.size())) {
      share_ = std::min(most, share_ + step);
    } else {
      share_ = share_ > least + step ? share_ - step : least;
    }
    while (window_.size() > share_ && window_.count() > 1) move(window_.pop(), kProbation);
    accesses_ = window_hits_ = probation_hits_ = 0;
  }

  const std::vector<std::uint32_t>& sizes_;
  const std::uint64_t capacity_;
  std::uint64_t share_;
  const std::uint64_t period_;
  std::uint64_t accesses_ = 0, window_hits_ = 0, probation_hits_ = 0;
  Links links_;
  List window_, probation_, protected_;
  std::vector<std::uint8_t> where_;
  Frequency frequency_;
};

}  // namespace

std::unique_ptr<Policy> make_w_tinylfu(const DenseTrace& trace, std::uint64_t capacity) {
  const std::uint64_t bytes = std::max<std::uint64_t>(trace.bytes(), 1);
  const double fits =
      static_cast<double>(std::min(capacity, bytes)) * trace.objects() / static_cast<double>(bytes);
  return std::make_unique<WTinyLfu>(trace, capacity,
                                    std::max<std::uint64_t>(1, static_cast<std::uint64_t>(fits)));
}

}  // namespace tern::bench
