// `tern bench`: from options to a plan, from the plan to files.
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "bench/batches.h"
#include "bench/bounds.h"
#include "bench/bus.h"
#include "bench/cachebench.h"
#include "bench/driver.h"
#include "bench/options.h"
#include "bench/order.h"
#include "bench/results.h"
#include "bench/seeds.h"
#include "bench/snapshot.h"
#include "bench/views.h"

namespace tern::bench {
namespace {

int wrong(const std::string& what) {
  std::fprintf(stderr, "tern bench: %s\n", what.c_str());
  return 2;
}

// glibc asks for huge pages below its heap only when it is told so before the program starts: so
// the program starts itself once more. Arenas of threads grow in steps too small for a huge page
// unless they are told to take a whole heap (64 MiB) at once: without top_pad nine tenths of the
// peers' nodes lay in small pages. Tern asks for its own. Without huge pages the system is told to
// give none to anybody.
void set_huge_pages(const BenchOptions& options) {
  if (!options.huge_pages) {
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    return;
  }
  const char* const now = std::getenv("GLIBC_TUNABLES");
  if (options.argv == nullptr ||
      (now != nullptr && std::strstr(now, "glibc.malloc.hugetlb") != nullptr))
    return;
  const std::string all = std::string(now != nullptr ? now : "") + (now != nullptr ? ":" : "") +
                          "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=67108864";
  setenv("GLIBC_TUNABLES", all.c_str(), 1);
  execv("/proc/self/exe", options.argv);
  std::perror("tern bench: starting anew with huge pages for the heap");
}

std::vector<unsigned> default_threads() {
  const unsigned all = static_cast<unsigned>(processors().size());
  std::vector<unsigned> threads;
  for (unsigned t = 1; t < all; t *= 2) threads.push_back(t);
  threads.push_back(all);
  return threads;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& w : words) {
    if (!out.empty()) out += ", ";
    out += w;
  }
  return out;
}

// Empty, or what is wrong.
std::string choose_stores(const BenchOptions& options, Plan& plan, Results& results) {
  const bool core = options.suite == "core";
  std::vector<std::string> known;
  for (const StoreKind& kind : all_stores()) {
    known.push_back(kind.name);
    const bool named =
        std::find(options.stores.begin(), options.stores.end(), kind.name) != options.stores.end();
    const bool wanted = named || (!kind.yardstick && (core ? kind.required || kind.groups : options.stores.empty()));
    if (!wanted) continue;
    if (kind.why_absent == nullptr) {
      plan.stores.push_back(kind);
    } else if (core && kind.required) {
      return std::string("--suite core needs ") + kind.name + ": " + kind.why_absent;
    } else if (named) {
      return std::string(kind.name) + ": " + kind.why_absent;
    } else {
      results.notes.push_back(std::string(kind.name) + " is left out: " + kind.why_absent);
    }
  }
  for (const std::string& name : options.stores) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return "there is no store '" + name + "'; there are " + joined(known);
    }
  }
  return {};
}

std::string choose_workloads(const BenchOptions& options, Plan& plan) {
  const std::vector<std::string> core = {"fill",     "get-uniform", "get-zipf",
                                         "get-miss", "ycsb-b",      "ycsb-a"};
  const std::vector<std::string> usual = {"fill",   "get-uniform", "get-zipf", "get-miss",
                                          "ycsb-a", "ycsb-b",      "ycsb-d",   "ycsb-f"};
  for (const std::string& name : !options.workloads.empty() ? options.workloads
                                 : options.suite == "core"  ? core
                                                            : usual) {
    const std::optional<Workload> w = find_workload(name);
    if (!w) {
      std::vector<std::string> known = {"ycsb-c"};
      for (const Workload& k : named_workloads()) known.push_back(k.name);
      return "there is no workload '" + name + "'; there are " + joined(known);
    }
    plan.workloads.push_back(*w);
  }
  return {};
}

// What is wrong with the numbers of a plan, or of the options that one is made from; every suite's.
template <class Numbers>
std::string check_numbers(const Numbers& n) {
  const auto all_within = [](const auto& numbers, std::uint64_t least, std::uint64_t most) {
    return std::all_of(numbers.begin(), numbers.end(), [&](std::uint64_t number) { return number >= least && number <= most; });
  };
  if (!all_within(n.entries, 1000, 0xFFFF'FFFFu)) return "--entries must be from 1,000 to 4,294,967,295";
  if (!all_within(n.threads, 1, kThreadsMax)) return "--threads must be from 1 to 256";
  if (n.batches.empty() || !all_within(n.batches, 1, kBatchMax)) return "--batch must be from 1 to 1,024";
  if (n.repeats == 0 || n.repeats > 1000) return "--repeats must be from 1 to 1,000";
  if (!(n.seconds > 0) || n.seconds > 3600) return "--seconds must be above 0 and at most 3,600";
  if (!(n.warm_up_seconds >= 0) || n.warm_up_seconds > 3600) return "--warm-up must be from 0 to 3,600";
  constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
  if (n.memory_bytes != 0 && (n.memory_bytes < 4 * kMiB || n.memory_bytes > kMiB << 20)) return "--memory-bytes must be from 4 MiB to 1 TiB";
  return {};
}

std::string check_plan(Plan& plan) {
  if (std::string error = check_numbers(plan); !error.empty()) return error;
  std::sort(plan.threads.begin(), plan.threads.end());
  plan.threads.erase(std::unique(plan.threads.begin(), plan.threads.end()), plan.threads.end());
  std::sort(plan.batches.begin(), plan.batches.end());
  plan.batches.erase(std::unique(plan.batches.begin(), plan.batches.end()), plan.batches.end());
  if (plan.keys.min() < KeyMaker::kKeyBytesMin || plan.keys.max() > 65'527)
    return "--key-bytes must be from 8 to 65,527";
  if (plan.values.min() < KeyMaker::kValueBytesMin || plan.values.max() > 1u << 26) {
    return "--value-bytes must be from 8 (the check of each read) to 67,108,864";
  }
  return {};
}

std::uint64_t available_bytes() {
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind("MemAvailable:", 0) == 0)
      return std::strtoull(line.c_str() + 13, nullptr, 10) * 1024;
  }
  return ~std::uint64_t{0};
}

// All stores of a size are alive at once, so that they can take turns.
std::string check_memory(const Plan& plan) {
  for (const std::uint64_t n : plan.entries) {
    const double each = plan.keys.mean() + plan.values.mean() + 150;
    const double need = static_cast<double>(n) * each * static_cast<double>(plan.stores.size());
    if (need <= static_cast<double>(available_bytes())) continue;
    char text[200];
    std::snprintf(text, sizeof text,
                  "%zu stores of %llu entries need about %.1f GB at once, %.1f GB are free: fewer "
                  "--stores or --entries",
                  plan.stores.size(), static_cast<unsigned long long>(n), need / 1e9,
                  static_cast<double>(available_bytes()) / 1e9);
    return text;
  }
  return {};
}

std::string describe(const Plan& plan) {
  char text[200];
  std::snprintf(text, sizeof text,
                "keys of %s bytes, values of %s; %u repeats of %g s (after %g s) for each row, "
                "stores in turn",
                plan.keys.text().c_str(), plan.values.text().c_str(), plan.repeats, plan.seconds,
                plan.warm_up_seconds);
  std::string out = text;
  for (const StoreKind& s : plan.stores) out += std::string("\n  ") + s.name + ": " + s.what;
  return out;
}

std::string make_plan(const BenchOptions& options, Plan& plan, Results& results) {
  const auto keys = Sizes::parse(options.key_bytes), values = Sizes::parse(options.value_bytes);
  if (!keys)
    return "--key-bytes '" + options.key_bytes + "' is no size: 64, 16-24 or 16:0.9,100-200:0.1";
  if (!values)
    return "--value-bytes '" + options.value_bytes +
           "' is no size: 64, 16-24 or 16:0.9,100-200:0.1";
  plan.keys = *keys;
  plan.values = *values;
  plan.entries = options.entries;
  if (plan.entries.empty()) {
    plan.entries = {1'000'000};
    if (options.suite == "core") plan.entries.push_back(10'000'000);
  }
  plan.threads = options.threads.empty() ? default_threads() : options.threads;
  plan.batches = options.batches;
  plan.seconds = options.seconds;
  plan.warm_up_seconds = options.warm_up_seconds;
  plan.repeats = options.repeats;
  plan.seed = options.seed;
  plan.memory_bytes = options.memory_bytes;
  plan.huge_pages = options.huge_pages;
  plan.peers_at_one_thread_only = options.suite == "core";
  if (options.suite == "core" && plan.repeats < 5)
    return "--suite core takes medians of at least five --repeats";
  if (std::string error = choose_stores(options, plan, results); !error.empty()) return error;
  if (std::string error = choose_workloads(options, plan); !error.empty()) return error;
  if (!options.cachebench.empty()) {
    std::ifstream in(options.cachebench, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (!in) return options.cachebench + " can't be read";
    std::vector<std::string> unused;
    if (std::string error = apply_cachebench(text, plan, unused); !error.empty())
      return options.cachebench + ": " + error;
    for (const std::string& key : unused)
      results.notes.push_back("cachebench: '" + key + "' has no meaning here and was not used");
  }
  const bool fills = std::any_of(plan.workloads.begin(), plan.workloads.end(),
                                 [](const Workload& w) { return w.fill; });
  if (!fills) {
    Workload load = *find_workload("fill");
    load.shown = false;
    plan.workloads.push_back(load);
  }
  if (std::string error = check_plan(plan); !error.empty()) return error;
  return check_memory(plan);
}

int finish(const BenchOptions& options, const Results& results) {
  bool written = true;
  if (!options.json.empty()) written = write_json(results, options.json) && written;
  if (!options.csv.empty()) written = write_csv(results, options.csv) && written;
  if (!options.hgrm.empty()) written = write_hgrm(results, options.hgrm) && written;
  if (!options.plot.empty()) written = write_plot(results, options.plot) && written;
  for (const std::string& error : results.errors)
    std::fprintf(stderr, "tern bench: %s\n", error.c_str());
  const bool missed = std::any_of(results.targets.begin(), results.targets.end(),
                                  [](const Target& t) { return !t.pass(); });
  if (!results.errors.empty() || !written) return 1;
  return options.check && missed ? 1 : 0;
}

}  // namespace

int run_bench(const BenchOptions& options) {
  if (!options.suite.empty() && options.suite != "core" && options.suite != "bounds" && options.suite != "views" &&
      options.suite != "order" && options.suite != "bus" && options.suite != "snapshot" && options.suite != "seeds") {
    return wrong("there is no suite '" + options.suite + "'; there are core, bounds, views, order, bus, snapshot, seeds");
  }
  if (const std::string error = check_numbers(options); !error.empty()) return wrong(error);
  set_huge_pages(options);
  Results results;
  results.machine = describe_machine();
  results.commit = commit();
  results.huge_pages = options.huge_pages;
  if (options.suite == "seeds" || options.suite == "views" || options.suite == "order" || options.suite == "bus" || options.suite == "snapshot") {
    if (options.suite == "seeds") run_seeds(results);
    if (options.suite == "snapshot") run_snapshot(options, results);
    if (options.suite == "bus") run_bus(options, results);
    if (options.suite == "views") {
      run_views(options, results);
      run_batches(options, results);
    }
    if (options.suite == "views" || options.suite == "order") run_order(options, results);
    print_targets(results);
    return finish(options, results);
  }
  if (options.suite == "bounds") {
    BoundsPlan bounds;
    bounds.repeats = options.repeats;
    if (bounds.repeats < 5) return wrong("--suite bounds takes medians of at least five --repeats");
    results.options = "a full cache of 64 MiB each, 2 million keys by Zipf 0.99, two threads, 95 % gets, half of the sets live "
                      "50 ms to 5 s";
    print_header(results);
    run_bounds(bounds, results);
    print_targets(results);
    return finish(options, results);
  }
  Plan plan;
  if (const std::string error = make_plan(options, plan, results); !error.empty())
    return wrong(error);
  results.options = describe(plan);
  print_header(results);
  run_plan(plan, results);
  print_summary(results);
  if (results.errors.empty()) {
    judge_core(results);
    if (options.suite == "core") {
      for (const Target& t : hash_batch_rates(plan.repeats)) results.targets.push_back(t);
    }
  }
  print_targets(results);
  return finish(options, results);
}

}  // namespace tern::bench
