// What the command line asks for. Filled by tools/main.cc, checked by the commands themselves.
#ifndef TERN_BENCH_OPTIONS_H_
#define TERN_BENCH_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace tern::bench {

struct BenchOptions {
  std::string suite;                   // empty, core, bounds, views, bus, snapshot or seeds
  std::vector<std::uint64_t> entries;  // empty: one million, and for the core suite ten million too
  std::vector<std::string> workloads;  // empty: all
  std::vector<std::string> stores;     // empty: all that are here
  std::vector<unsigned> threads;       // empty: 1, 2, 4, ... and all processors
  std::vector<unsigned> batches = {1, 64};
  std::string key_bytes = "16-24";
  std::string value_bytes = "64";
  double seconds = 0.15;
  double warm_up_seconds = 0.03;
  unsigned repeats = 5;
  std::uint64_t seed = 1;
  std::uint64_t memory_bytes = 0;
  bool huge_pages = true;
  bool check = false;
  std::string cachebench;
  std::string folder;  // of the snapshot suite's files; empty: where the program is started
  std::string json, csv, hgrm, plot;
  char** argv = nullptr;  // of main: the program starts itself anew to set the heap's huge pages
};

struct ReplayOptions {
  std::vector<std::string> files;
  std::string directory;               // every trace in it, beside `files`
  std::vector<std::string> synthetic;  // made ones, beside `files` (bench/synthetic.h)
  std::string format;                  // empty: by the name; csv or oracle
  // A run for each size: of the budget (256M, 10%), or a bound on entries (1000, 10%), whose
  // objects are then of one size. Neither: 1G.
  std::vector<std::string> memory, objects;
  bool unit_sizes = false;
  bool size_aware = false;  // Options::size_aware
  unsigned threads = 1;
  std::uint64_t requests_max = 0;
  bool policies = false;  // simulates the others beside it
  // A table of published ratios, trace,cache_objects,NAME,...: every row of it, through the store. Traces lie in
  // `directory`, or beside it.
  std::string cells;
  std::string json, csv, plot;
};

// Exit codes: 0; 1 a measurement failed, or (with --check) a floor was missed; 2 the options are
// wrong.
int run_bench(const BenchOptions& options);
int run_replay(const ReplayOptions& options);

}  // namespace tern::bench

#endif  // TERN_BENCH_OPTIONS_H_
