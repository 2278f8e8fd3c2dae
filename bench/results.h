// What a run found: one row for each workload, store, number of threads and kind of call; every
// repeat is kept, so that ratios are formed within a repeat.
#ifndef TERN_BENCH_RESULTS_H_
#define TERN_BENCH_RESULTS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/machine.h"
#include "bench/slice.h"

namespace tern::bench {

struct Spread {
  double median = 0, min = 0, max = 0;
};
Spread spread(std::vector<double> values);

struct Row {
  std::string workload;
  std::string store;
  std::uint64_t keys = 0;
  std::uint32_t value_bytes = 0;  // rounded mean
  unsigned threads = 1;
  unsigned batch = 1;
  Mode mode = Mode::kPlain;
  std::vector<double> mops;  // of CPU time, one for each repeat
  std::vector<double> wall_mops;
  Histogram latency;
  double bytes_per_entry = 0;
  double resident_per_entry = 0;
  double huge_share = 0;
  std::uint64_t sum = 0;
  std::uint64_t reads = 0;
  bool pinned = true;
  bool yardstick = false;  // StoreKind::yardstick

  std::string label() const;  // "tern", "tern session", "tern, groups of 64"
};

// Random cache lines a second over as much memory as the store takes, and what that allows.
struct Limit {
  std::uint64_t keys = 0;
  std::uint64_t bytes = 0;
  double record_bytes = 0;
  double lines_per_get = 0;
  Spread lines_mops;  // prefetched into the second level, the best of 64, 96 and 128 in flight
  Spread first_level_mops;
  unsigned in_flight = 0;
};

struct Target {
  std::string id;
  Spread value;
  std::string unit = "ratio";
  std::string against;
  double floor = 0;
  double goal = 0;
  bool less_is_better = false;
  bool judged = false;  // false: shown without a floor

  bool pass() const {
    return !judged || (less_is_better ? value.median <= floor : value.median >= floor);
  }
  bool goal_reached() const { return less_is_better ? value.median <= goal : value.median >= goal; }
};

struct Results {
  Machine machine;
  std::string commit;
  std::string options;  // for people
  bool huge_pages = true;
  std::vector<Row> rows;
  std::vector<Limit> limits;
  std::vector<Target> targets;
  std::vector<std::string> notes;   // stores that are absent, and why
  std::vector<std::string> errors;  // what makes the run a failure

  const Row* find(std::string_view workload, std::string_view store, std::uint64_t keys,
                  unsigned threads, unsigned batch = 1, Mode mode = Mode::kPlain) const;
  // Single-call rows of the other stores.
  std::vector<const Row*> peers(std::string_view workload, std::uint64_t keys,
                                unsigned threads) const;
  // A figure and its limit; a limit of 0: shown without one.
  void add_target(std::string id, Spread value, std::string unit, std::string against, double limit,
                  bool less_is_better);
};

// Repeat by repeat: row ÷ the best of `others`.
Spread ratio_to_best(const Row& row, std::span<const Row* const> others);

// targets.cc: the figures of §1 and §3 that these rows give, judged.
void judge_core(Results& results);
// hash_rate.cc
std::vector<Target> hash_batch_rates(unsigned repeats);

// report.cc
void print_header(const Results& results);
void print_group(const Results& results, std::string_view workload, std::uint64_t keys);
void print_summary(const Results& results);
void print_targets(const Results& results);

// export.cc; false: the file can't be written (said on stderr).
bool write_json(const Results& results, const std::string& path);
bool write_csv(const Results& results, const std::string& path);
bool write_hgrm(const Results& results, const std::string& prefix);
// plot.cc
bool write_plot(const Results& results, const std::string& path);

}  // namespace tern::bench

#endif  // TERN_BENCH_RESULTS_H_
