// Hit ratios of the store beside those of simulated policies, by trace and size: a table, a CSV
// file and a plot.
#ifndef TERN_BENCH_HIT_RATIOS_H_
#define TERN_BENCH_HIT_RATIOS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tern::bench {

struct HitRatios {
  std::string trace;
  std::uint64_t capacity = 0;  // objects, or bytes
  bool bytes = false;
  double store = 0;
  std::vector<std::pair<std::string, double>> policies;  // by name; empty: not asked for

  // A policy's ratio, "store" included; negative: not there.
  double of(const std::string& name) const;
};

// What a policy (or "store") does over all rows that have policies.
struct HitSummary {
  double gap_closed_percent = 0;  // mean over rows in which the optimum is half a point above LRU
  double to_best_points =
      0;                    // mean distance to the best of the online policies, the store left out
  double worst_points = 0;  // against LRU
  double near_best_percent = 0;  // rows within half a point of that best
};
HitSummary summary(const std::vector<HitRatios>& rows, const std::string& name);

// A table `trace,cache_objects,NAME,...` of published hit ratios, 0 to 1, as rows without the store's. Names in small
// letters, but OPT, which is "optimum" here. Empty, and `error` says why: it can't be read, or a line is malformed.
std::vector<HitRatios> read_hit_ratio_cells(const std::string& path, std::string& error);

void print_hit_ratios(const std::vector<HitRatios>& rows);
// Both say on stderr what went wrong. The plot is drawn by gnuplot, .png or .svg; without gnuplot
// there is none, which is no error.
bool write_hit_ratio_csv(const std::vector<HitRatios>& rows, const std::string& path);
bool write_hit_ratio_plot(const std::vector<HitRatios>& rows, const std::string& path);

}  // namespace tern::bench

#endif  // TERN_BENCH_HIT_RATIOS_H_
