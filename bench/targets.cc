// The figures that Tern is to reach, as data, and what a run gives for them.
#include <cstdio>
#include <string>

#include "bench/results.h"

namespace tern::bench {
namespace {

struct Floor {
  const char* workload;
  unsigned batch;
  std::uint64_t keys;
  double floor;
  double goal;
};

constexpr std::uint64_t kMillion = 1'000'000;

// Tern ÷ the best single-call peer of the same repeat, one thread.
constexpr Floor kFloors[] = {
    {"get-uniform", 1, 10 * kMillion, 2.5, 3.2}, {"get-zipf", 1, 10 * kMillion, 2.1, 2.9},
    {"get-miss", 1, 10 * kMillion, 1.4, 2.2},    {"ycsb-b", 1, 10 * kMillion, 2.0, 2.6},
    {"ycsb-a", 1, 10 * kMillion, 1.8, 2.5},      {"fill", 1, 10 * kMillion, 2.2, 3.5},
    {"get-uniform", 64, 10 * kMillion, 12, 22},  {"get-zipf", 64, 10 * kMillion, 8, 16},
    {"get-miss", 64, 10 * kMillion, 5, 9},       {"ycsb-b", 64, 10 * kMillion, 6.5, 10},
    {"ycsb-a", 64, 10 * kMillion, 5, 8},         {"get-uniform", 1, kMillion, 1.5, 0},
    {"get-uniform", 64, kMillion, 2.0, 3.4},     {"get-miss", 1, kMillion, 0.5, 1},
    {"get-miss", 64, kMillion, 1.2, 0},          {"ycsb-a", 1, kMillion, 1.0, 0},
    {"ycsb-a", 64, kMillion, 1.7, 2.2},
};

std::string suffix(std::uint64_t keys) {
  char text[32];
  const auto n = static_cast<unsigned long long>(keys);
  if (keys % kMillion == 0) {
    std::snprintf(text, sizeof text, "-%llum", n / kMillion);
  } else if (keys % 1000 == 0) {
    std::snprintf(text, sizeof text, "-%lluk", n / 1000);
  } else {
    std::snprintf(text, sizeof text, "-%llu", n);
  }
  return text;
}

// The same store and calls in another setting.
void add_ratio(Results& results, std::string id, const Row* row, const Row* base,
               std::string against, double floor) {
  if (row == nullptr || base == nullptr || row->mops.empty() || base->mops.empty()) return;
  Target t;
  t.id = std::move(id);
  t.value = ratio_to_best(*row, std::span<const Row* const>(&base, 1));
  t.against = std::move(against);
  t.floor = floor;
  t.judged = floor > 0;
  results.targets.push_back(std::move(t));
}

void judge_entries(Results& results, std::uint64_t keys) {
  const std::string tail = suffix(keys);
  for (const Floor& f : kFloors) {
    if (f.keys != keys) continue;
    const Row* const row = results.find(f.workload, "tern", keys, 1, f.batch);
    const auto peers = results.peers(f.workload, keys, 1);
    if (row == nullptr || peers.empty()) continue;
    Target t;
    t.id = std::string(f.workload) + (f.batch > 1 ? "-" + std::to_string(f.batch) : "") + tail;
    t.value = ratio_to_best(*row, peers);
    const Row* best = peers.front();
    for (const Row* p : peers) {
      if (spread(p->mops).median > spread(best->mops).median) best = p;
    }
    t.against = "the best peer, " + best->store;
    t.floor = f.floor;
    t.goal = f.goal;
    t.judged = true;
    const std::string id = t.id;
    results.targets.push_back(std::move(t));
    const Row* const bare = results.find(f.workload, "bare", keys, 1, f.batch);
    if (bare == nullptr) continue;
    results.add_target("layout-" + id, ratio_to_best(*bare, peers), "ratio", "the best peer; the same layout without a protocol", 0, false);
    add_ratio(results, "kept-" + id, row, bare, "the same layout without a protocol", 0);
  }
  if (const Row* const fill = results.find("fill", "tern", keys, 1);
      fill != nullptr && fill->bytes_per_entry > 0) {
    Target t;
    t.id = "bytes-per-entry" + tail;
    t.value = {fill->bytes_per_entry, fill->bytes_per_entry, fill->bytes_per_entry};
    t.unit = "bytes";
    t.against = "all bytes of the store / entries";
    t.less_is_better = true;
    if (keys == 10 * kMillion && fill->value_bytes == 64) {
      t.floor = 145;
      t.goal = 125;
      t.judged = true;
    }
    results.targets.push_back(std::move(t));
  }
  for (const char* const workload : {"get-uniform", "get-zipf", "ycsb-a"}) {
    const double floor = std::string_view(workload) == "ycsb-a" ? 1.75 : 1.9;
    const double floor16 = std::string_view(workload) == "ycsb-a" ? 10 : 14;
    for (const unsigned batch : {1u, 64u}) {
      const Row* const one = results.find(workload, "tern", keys, 1, batch);
      const std::string name = std::string(workload) + (batch > 1 ? "-64" : "") + tail;
      add_ratio(results, "two-threads-" + name, results.find(workload, "tern", keys, 2, batch), one,
                "one thread", keys >= kMillion ? floor : 0);
      add_ratio(results, "16-threads-" + name, results.find(workload, "tern", keys, 16, batch), one,
                "one thread", keys >= kMillion ? floor16 : 0);
    }
  }
  add_ratio(results, "prepared-gets" + tail,
            results.find("get-uniform", "tern", keys, 1, 1, Mode::kPrefetch),
            results.find("get-uniform", "tern", keys, 1), "plain gets", keys == kMillion ? 1.3 : 0);
  for (const Limit& l : results.limits) {
    const Row* const row = results.find("get-uniform", "tern", keys, 1, 64);
    if (l.keys != keys || row == nullptr || l.lines_mops.median <= 0) continue;
    const Spread rate = spread(row->mops);
    Target t;
    t.id = "get-many-vs-limit" + tail;
    const double each = l.lines_per_get;
    t.value = {rate.median * each / l.lines_mops.median, rate.min * each / l.lines_mops.max,
               rate.max * each / l.lines_mops.min};
    t.against = "random lines, this layout";
    if (keys >= 10 * kMillion) {
      t.floor = 0.6;
      t.goal = 0.85;
      t.judged = true;
    }
    results.targets.push_back(std::move(t));
  }
}

}  // namespace

void judge_core(Results& results) {
  std::vector<std::uint64_t> seen;
  for (std::size_t i = 0; i < results.rows.size(); ++i) {
    const std::uint64_t keys = results.rows[i].keys;
    bool is_new = true;
    for (const std::uint64_t k : seen) is_new = is_new && k != keys;
    if (!is_new) continue;
    seen.push_back(keys);
    judge_entries(results, keys);
  }
}

}  // namespace tern::bench
