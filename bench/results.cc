#include "bench/results.h"

#include <algorithm>
#include <utility>

namespace tern::bench {

Spread spread(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  const double median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  return {median, values.front(), values.back()};
}

std::string Row::label() const {
  switch (mode) {
    case Mode::kPlain:
      return store;
    case Mode::kSession:
      return store + " session";
    case Mode::kPrefetch:
      return store + " prefetch";
    case Mode::kBatch:
      return store + " x" + std::to_string(batch);
  }
  return store;
}

const Row* Results::find(std::string_view workload, std::string_view store, std::uint64_t keys,
                         unsigned threads, unsigned batch, Mode mode) const {
  if (batch > 1) mode = Mode::kBatch;
  for (const Row& r : rows) {
    if (r.workload == workload && r.store == store && r.keys == keys && r.threads == threads &&
        r.batch == batch && r.mode == mode) {
      return &r;
    }
  }
  return nullptr;
}

std::vector<const Row*> Results::peers(std::string_view workload, std::uint64_t keys,
                                       unsigned threads) const {
  std::vector<const Row*> found;
  for (const Row& r : rows) {
    if (r.workload == workload && r.store != "tern" && !r.yardstick && r.keys == keys && r.threads == threads &&
        r.batch == 1) {
      found.push_back(&r);
    }
  }
  return found;
}

void Results::add_target(std::string id, Spread value, std::string unit, std::string against, double limit,
                         bool less_is_better) {
  Target t;
  t.id = std::move(id);
  t.value = value;
  t.unit = std::move(unit);
  t.against = std::move(against);
  t.floor = limit;
  t.less_is_better = less_is_better;
  t.judged = limit > 0;
  targets.push_back(std::move(t));
}

Spread ratio_to_best(const Row& row, std::span<const Row* const> others) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < row.mops.size(); ++i) {
    double best = 0;
    for (const Row* other : others) {
      if (i < other->mops.size()) best = std::max(best, other->mops[i]);
    }
    if (best > 0) ratios.push_back(row.mops[i] / best);
  }
  return spread(std::move(ratios));
}

}  // namespace tern::bench
