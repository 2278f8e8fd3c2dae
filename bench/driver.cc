#include "bench/driver.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <thread>

#include "bench/process.h"

namespace tern::bench {
namespace {

// One line on a terminal that is written over; nothing in a file or a pipe.
class Progress {
 public:
  explicit Progress(std::size_t total) : total_(total), on_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() { clear(); }
  void step(const std::string& what) {
    ++done_;
    if (!on_) return;
    std::fprintf(stderr, "\r\033[K[%zu/%zu] %s", done_, total_, what.c_str());
    std::fflush(stderr);
  }
  void clear() {
    if (on_) std::fputs("\r\033[K", stderr);
  }

 private:
  std::size_t total_;
  std::size_t done_ = 0;
  bool on_;
};

// One way to run a workload: what a row of the table stands for.
struct Case {
  std::size_t store = 0;
  Mode mode = Mode::kPlain;
  unsigned threads = 1;
  unsigned batch = 1;
};

std::vector<Case> cases_of(const Plan& plan, const Workload& workload) {
  std::vector<Case> cases;
  const unsigned least = plan.threads.front();
  const bool reads = workload.name == "get-uniform" || workload.name == "get-zipf";
  for (const unsigned threads : plan.threads) {
    for (std::size_t s = 0; s < plan.stores.size(); ++s) {
      const StoreKind& store = plan.stores[s];
      const bool alone = plan.peers_at_one_thread_only && threads != least;
      for (const unsigned batch : plan.batches) {
        if (store.yardstick && threads != 1) continue;
        if (batch == 1) {
          if (!alone || store.groups) cases.push_back({s, Mode::kPlain, threads, 1});
        } else if (store.groups && workload.del == 0) {
          cases.push_back({s, Mode::kBatch, threads, batch});
        }
      }
      if (reads && store.sessions && threads == least) {
        cases.push_back({s, Mode::kSession, threads, 1});
        cases.push_back({s, Mode::kPrefetch, threads, 1});
      }
    }
  }
  return cases;
}

class Round {
 public:
  Round(const Plan& plan, std::uint64_t entries, Results& results, Progress& progress)
      : plan_(plan),
        results_(results),
        progress_(progress),
        maker_(plan.keys, plan.values),
        draws_(entries, std::size_t{4} << 20, plan.seed),
        world_{plan.workloads, &maker_, &draws_},
        residents_(plan.stores.size()),
        memory_(plan.stores.size()) {
    config_.entries = entries;
    config_.key_bytes_max = plan.keys.max();
    config_.value_bytes_max = plan.values.max();
    config_.key_bytes_mean = plan.keys.mean();
    config_.value_bytes_mean = plan.values.mean();
    config_.fixed_value = plan.values.fixed();
    config_.huge_pages = plan.huge_pages;
    config_.memory_bytes = plan.memory_bytes;
  }

  void run() {
    if (!fill()) return;
    for (std::size_t w = 0; w < plan_.workloads.size(); ++w) {
      if (!plan_.workloads[w].fill) measure(w);
    }
  }

 private:
  Row& row_of(const Workload& workload, const Case& c) {
    for (Row& r : results_.rows) {
      if (r.workload == workload.name && r.store == plan_.stores[c.store].name &&
          r.keys == config_.entries && r.threads == c.threads && r.batch == c.batch &&
          r.mode == c.mode) {
        return r;
      }
    }
    Row& r = results_.rows.emplace_back();
    r.workload = workload.name;
    r.store = plan_.stores[c.store].name;
    r.keys = config_.entries;
    r.value_bytes = static_cast<std::uint32_t>(std::lround(config_.value_bytes_mean));
    r.threads = c.threads;
    r.batch = c.batch;
    r.mode = c.mode;
    r.yardstick = plan_.stores[c.store].yardstick;
    return r;
  }

  bool take(const Workload& workload, const Case& c, const SliceResult& result) {
    if (result.failed) {
      results_.errors.push_back(std::string(plan_.stores[c.store].name) + ": " + result.error);
      return false;
    }
    Row& r = row_of(workload, c);
    r.mops.push_back(result.mops_cpu);
    r.wall_mops.push_back(result.mops_wall);
    r.latency.add(result.latency);
    r.sum += result.sum;
    r.reads += result.hits + result.misses;
    r.pinned = r.pinned && result.pinned;
    return true;
  }

  std::string describe(const Workload& workload, const Case& c, unsigned repeat) const {
    return std::to_string(config_.entries) + " entries, " + workload.name + ", " +
           plan_.stores[c.store].name + ", " + std::to_string(c.threads) +
           (c.threads == 1 ? " thread" : " threads") +
           (c.batch > 1 ? ", groups of " + std::to_string(c.batch) : "") + ", repeat " +
           std::to_string(repeat + 1);
  }

  SliceSpec spec_of(const Workload& workload, const Case& c, unsigned repeat) const {
    return {.workload = workload,
            .mode = c.mode,
            .threads = c.threads,
            .batch = c.batch,
            .warm_up_seconds = plan_.warm_up_seconds,
            .seconds = plan_.seconds,
            .operations = plan_.operations,
            .seed = plan_.seed + repeat + 1};
  }

  // Every fill happens in a new process, so that no memory was touched before. The last one of each
  // store with single calls and the fewest threads stays for the other workloads.
  bool fill() {
    std::size_t w = 0;
    while (w < plan_.workloads.size() && !plan_.workloads[w].fill) ++w;
    const Workload& workload = plan_.workloads[w];  // run_bench puts a fill into every plan
    const std::vector<Case> cases = cases_of(plan_, workload);
    const bool shown = workload.shown;
    for (unsigned repeat = shown ? 0 : plan_.repeats - 1; repeat < plan_.repeats; ++repeat) {
      for (const Case& c : cases) {
        const bool stays = repeat + 1 == plan_.repeats && !residents_[c.store];
        if (!shown && !stays) continue;
        progress_.step(describe(workload, c, repeat));
        auto process = std::make_unique<StoreProcess>(plan_.stores[c.store], config_, world_);
        const SliceResult& result = process->run(w, spec_of(workload, c, repeat));
        if (shown ? !take(workload, c, result) : result.failed) {
          if (!shown)
            results_.errors.push_back(std::string(plan_.stores[c.store].name) + ": " +
                                      result.error);
          return false;
        }
        if (!stays) continue;
        memory_[c.store] = process->memory();
        residents_[c.store] = std::move(process);
      }
    }
    note_memory(workload);
    if (shown) {
      progress_.clear();
      print_group(results_, workload.name, config_.entries);
    }
    return true;
  }

  void note_memory(const Workload& workload) {
    const double n = static_cast<double>(config_.entries);
    for (Row& r : results_.rows) {
      if (r.keys != config_.entries || r.workload != workload.name) continue;
      for (std::size_t s = 0; s < plan_.stores.size(); ++s) {
        if (r.store != plan_.stores[s].name) continue;
        r.bytes_per_entry = static_cast<double>(memory_[s].used_bytes) / n;
        r.resident_per_entry = static_cast<double>(memory_[s].resident_bytes) / n;
        if (memory_[s].resident_bytes != 0) {
          r.huge_share = std::min(1.0, static_cast<double>(memory_[s].huge_bytes) /
                                           static_cast<double>(memory_[s].resident_bytes));
        }
      }
    }
  }

  void measure(std::size_t w) {
    const Workload& workload = plan_.workloads[w];
    const std::vector<Case> cases = cases_of(plan_, workload);
    std::vector<bool> broken(plan_.stores.size());
    const Memory* const measured = workload.name == "get-uniform" ? limited() : nullptr;
    std::unique_ptr<Region> region;
    Limit limit;
    std::vector<double> second, first;
    if (measured != nullptr) {
      limit.keys = config_.entries;
      limit.bytes = measured->used_bytes;
      limit.record_bytes = measured->record_bytes;
      // The bucket's line, and those of a record that begins at any multiple of 8.
      limit.lines_per_get = 2 + (limit.record_bytes - 8) / 64;
      region = std::make_unique<Region>(static_cast<std::size_t>(limit.bytes), plan_.huge_pages);
    }
    for (unsigned repeat = 0; repeat < plan_.repeats; ++repeat) {
      if (region) measure_limit(*region, limit, second, first);
      for (const Case& c : cases) {
        progress_.step(describe(workload, c, repeat));
        if (broken[c.store] || !residents_[c.store]) continue;
        if (!take(workload, c, residents_[c.store]->run(w, spec_of(workload, c, repeat))))
          broken[c.store] = true;
      }
    }
    if (region) {
      limit.lines_mops = spread(second);
      limit.first_level_mops = spread(first);
      results_.limits.push_back(limit);
    }
    note_memory(workload);
    progress_.clear();
    print_group(results_, workload.name, config_.entries);
  }

  // Random lines over as many bytes as Tern's table and records take, once in each repeat of
  // get-uniform. On a thread of its own, because a process that is pinned hands that on to those it
  // forks.
  void measure_limit(const Region& region, Limit& limit, std::vector<double>& second,
                     std::vector<double>& first) {
    std::thread([&] {
      pin(0);
      double best = 0;
      for (const unsigned in_flight : {64u, 96u, 128u}) {
        const double rate = random_lines_mops(region, in_flight, true, plan_.seconds / 3);
        if (rate <= best) continue;
        best = rate;
        limit.in_flight = in_flight;
      }
      second.push_back(best);
      first.push_back(random_lines_mops(region, 64, false, plan_.seconds / 3));
    }).join();
  }

  // The store whose layout the limit is for; none when it isn't among the stores or no groups were
  // asked for.
  const Memory* limited() const {
    if (plan_.batches.back() == 1) return nullptr;
    for (std::size_t s = 0; s < plan_.stores.size(); ++s) {
      if (plan_.stores[s].groups && memory_[s].record_bytes > 0) return &memory_[s];
    }
    return nullptr;
  }

  const Plan& plan_;
  Results& results_;
  Progress& progress_;
  KeyMaker maker_;
  ZipfDraws draws_;
  World world_;
  StoreConfig config_;
  std::vector<std::unique_ptr<StoreProcess>> residents_;
  std::vector<Memory> memory_;
};

}  // namespace

void run_plan(const Plan& plan, Results& results) {
  std::size_t steps = 0;
  for (const Workload& w : plan.workloads) {
    steps += w.shown ? cases_of(plan, w).size() * plan.repeats : plan.stores.size();
  }
  Progress progress(steps * plan.entries.size());
  for (const std::uint64_t entries : plan.entries) {
    Round(plan, entries, results, progress).run();
    if (!results.errors.empty()) return;
  }
}

}  // namespace tern::bench
