// `tern replay`: a trace through the store as a look-aside cache. A request is a get; after a miss
// the object is set, as a service behind the cache would do. Threads take the requests in turns of
// 64, so their order is nearly the trace's. With --policies, the hit ratios of other policies at
// the same size are simulated beside it.
#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <thread>

#include "bench/histogram.h"
#include "bench/hit_ratios.h"
#include "bench/machine.h"
#include "bench/options.h"
#include "bench/policies/policy.h"
#include "bench/slice.h"
#include "bench/synthetic.h"
#include "bench/traces.h"

namespace tern::bench {
namespace {

constexpr std::uint64_t kMemoryBytes = std::uint64_t{1} << 30;  // where nothing else was asked for
constexpr std::uint32_t kValueBytesMax =
    1u << 20;  // larger objects are kept as this many bytes, and counted

struct Outcome {
  std::uint64_t hits = 0, misses = 0, refused = 0, wrong = 0, cut = 0;
  double cpu = 0;
  Histogram latency;
};

// A value begins with its key, so that every hit can be checked; a unit-sized object is that alone.
std::uint32_t stored_size(const Request& r, bool unit_sizes) {
  return unit_sizes ? 8 : std::clamp<std::uint32_t>(r.size, 8, kValueBytesMax);
}

void replay_part(const Store& store, const Trace& trace, const ReplayOptions& options,
                 std::atomic<std::uint64_t>& next, Outcome& o) {
  constexpr std::uint64_t kTurn = 64;
  std::vector<char> value(kValueBytesMax, 'v'), out(kValueBytesMax);
  const double from = thread_cpu_seconds();
  std::uint64_t number = 0;
  for (;;) {
    // Relaxed: a counter; the trace was written before the threads began.
    const std::uint64_t at = next.fetch_add(kTurn, std::memory_order_relaxed);
    if (at >= trace.requests.size()) break;
    for (std::uint64_t i = at; i < std::min<std::uint64_t>(at + kTurn, trace.requests.size());
         ++i) {
      const Request& r = trace.requests[i];
      char key[8];
      std::memcpy(key, &r.key, sizeof key);
      const std::string_view name(key, sizeof key);
      const bool sampled = ++number % 16 == 0;
      const std::uint64_t begin = sampled ? ticks() : 0;
      const Lookup<std::size_t> hit = store.get(name, std::span<char>(out));
      if (hit.found()) {
        ++o.hits;
        if (*hit < 8 || head_of(out.data()) != r.key) ++o.wrong;
      } else {
        ++o.misses;
        const std::uint32_t size = stored_size(r, options.unit_sizes);
        if (!options.unit_sizes && r.size > kValueBytesMax) ++o.cut;
        std::memcpy(value.data(), key, sizeof key);
        if (!store.set(name, {value.data(), size})) ++o.refused;
      }
      if (sampled)
        o.latency.record(static_cast<std::uint64_t>(static_cast<double>(ticks() - begin) *
                                                    nanoseconds_per_tick()));
    }
  }
  o.cpu = thread_cpu_seconds() - from;
}

std::string short_name(const std::string& path) {
  std::string name = std::filesystem::path(path).filename().string();
  for (const char* const end : {".zst", ".zstd", ".csv", ".bin"}) {
    if (name.ends_with(end)) name.resize(name.size() - std::strlen(end));
  }
  return name;
}

// What a cache needs beside an object's value: about what Tern's records, slots and queues take.
// The simulated policies are charged the same, or they would hold more.
constexpr std::uint32_t kOverheadBytes = 64;

// A run: a bound on objects or a budget in bytes.
struct Size {
  std::uint64_t amount = 0;
  bool bytes = false;
};

// "1000", "256M" or "10%" of `all`, at least 1. False: malformed.
bool parse_size(const std::string& text, std::uint64_t all, std::uint64_t& out) {
  double amount = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (error != std::errc{} || !(amount > 0)) return false;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit == "%") {
    amount *= static_cast<double>(all) / 100;
  } else if (!unit.empty()) {
    const std::size_t power = std::string_view("KMGT").find(unit.front());
    if (power == std::string_view::npos ||
        (unit.size() > 1 && unit.substr(1) != "iB" && unit.substr(1) != "B"))
      return false;
    amount *= static_cast<double>(std::uint64_t{1} << 10 * (power + 1));
  }
  if (amount >= 0x1p62) return false;
  out = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(amount));
  return true;
}

// The runs that the options ask for. False: said what is wrong.
bool sizes_of(const ReplayOptions& options, std::uint64_t objects, std::uint64_t bytes,
              std::vector<Size>& sizes) {
  for (const std::string& text : options.memory) {
    sizes.push_back({0, true});
    if (parse_size(text, bytes, sizes.back().amount)) continue;
    std::fprintf(stderr, "tern replay: --memory: '%s' is no number of bytes\n", text.c_str());
    return false;
  }
  if (!options.objects.empty()) sizes.clear();  // --memory is the budget of these runs
  for (const std::string& text : options.objects) {
    sizes.push_back({0, false});
    if (parse_size(text, objects, sizes.back().amount)) continue;
    std::fprintf(stderr, "tern replay: --objects: '%s' is no number of objects\n", text.c_str());
    return false;
  }
  if (sizes.empty()) sizes.push_back({kMemoryBytes, true});
  return true;
}

void simulate(const DenseTrace& trace, std::uint64_t capacity, HitRatios& row) {
  for (const std::string& name : policy_names())
    row.policies.emplace_back(name, hit_ratio(name, trace, capacity));
}

// One run through the store. What it refused is a finding of its own: a cache that can't make room
// serves, but keeps nothing new.
bool replay_size(const std::string& name, const Trace& trace, const ReplayOptions& options,
                 const Options& store_options, bool quiet, HitRatios& row,
                 nlohmann::ordered_json& report) {
  const Result<Store> opened = Store::open(store_options);
  if (!opened) {
    std::fprintf(stderr, "tern replay: Store::open: %s (%s)\n", status_name(opened.status()),
                 field_name(opened.error().field));
    return false;
  }
  const Store store = *opened;
  std::vector<std::unique_ptr<Outcome>> outcomes;
  std::vector<std::thread> threads;
  std::atomic<std::uint64_t> next{0};
  const double from = wall_seconds();
  for (unsigned t = 0; t < options.threads; ++t) {
    outcomes.push_back(std::make_unique<Outcome>());
    threads.emplace_back([&, t, o = outcomes.back().get()] {
      pin(t);
      replay_part(store, trace, options, next, *o);
    });
  }
  for (std::thread& t : threads) t.join();
  const double wall = wall_seconds() - from;
  Outcome sum;
  double mops = 0;
  for (const auto& o : outcomes) {
    sum.hits += o->hits;
    sum.misses += o->misses;
    sum.refused += o->refused;
    sum.wrong += o->wrong;
    sum.cut += o->cut;
    sum.latency.add(o->latency);
    if (o->cpu > 0) mops += static_cast<double>(o->hits + o->misses) / o->cpu / 1e6;
  }
  const std::uint64_t requests = trace.requests.size();
  row.store = requests == 0 ? 0 : static_cast<double>(sum.hits) / static_cast<double>(requests);
  const Stats stats = store.stats();
  if (!quiet) {
    std::printf("%-18s %11llu %9llu %9llu %9llu %8.4f %9llu %7.2f %7.2f %7llu %7llu %8llu %8.1f\n",
                name.c_str(), static_cast<unsigned long long>(row.capacity),
                static_cast<unsigned long long>(requests),
                static_cast<unsigned long long>(sum.hits),
                static_cast<unsigned long long>(sum.misses), row.store,
                static_cast<unsigned long long>(sum.refused), mops,
                static_cast<double>(requests) / wall / 1e6,
                static_cast<unsigned long long>(sum.latency.percentile(0.5)),
                static_cast<unsigned long long>(sum.latency.percentile(0.99)),
                static_cast<unsigned long long>(sum.latency.percentile(0.999)),
                static_cast<double>(stats.memory_used_bytes) / 1e6);
    if (sum.cut != 0) {
      std::printf("  %llu objects of more than %u bytes were kept as %u\n",
                  static_cast<unsigned long long>(sum.cut), kValueBytesMax, kValueBytesMax);
    }
    std::fflush(stdout);
  }
  nlohmann::ordered_json object = {{"trace", name},
                                   {"objects", trace.objects},
                                   {"threads", options.threads},
                                   {"requests", requests},
                                   {"hits", sum.hits},
                                   {"hit_ratio", row.store},
                                   {"mops", mops},
                                   {"misses", sum.misses},
                                   {"refused", sum.refused},
                                   {"p50_ns", sum.latency.percentile(0.5)},
                                   {"p99_ns", sum.latency.percentile(0.99)},
                                   {"p999_ns", sum.latency.percentile(0.999)},
                                   {"memory_used_bytes", stats.memory_used_bytes},
                                   {"entries", stats.entries},
                                   {"capacity", row.capacity},
                                   {"unit", row.bytes ? "bytes" : "objects"}};
  for (const auto& [policy, ratio] : row.policies) object["policies"][policy] = ratio;
  report.push_back(std::move(object));
  if (sum.wrong == 0) return true;
  std::fprintf(stderr, "tern replay: %s: %llu hits gave another object's bytes\n", name.c_str(),
               static_cast<unsigned long long>(sum.wrong));
  return false;
}

// `published` has the ratios of other policies at the same sizes; empty: they are simulated if that was asked for.
bool replay_trace(const std::string& name, const Trace& trace, const ReplayOptions& asked,
                  bool quiet, std::vector<HitRatios>& rows, nlohmann::ordered_json& report,
                  std::span<const HitRatios> published = {}) {
  if (!trace.error.empty()) {
    std::fprintf(stderr, "tern replay: %s: %s\n", name.c_str(), trace.error.c_str());
    return false;
  }
  ReplayOptions options = asked;
  options.unit_sizes = asked.unit_sizes || !asked.objects.empty();
  // Objects count 1 each where the bound is on them, and what the store is given where it is on
  // bytes.
  DenseTrace plain = dense(trace, options.unit_sizes);
  std::uint64_t bytes = 0;
  for (std::uint32_t& size : plain.sizes) {
    const std::uint32_t stored = stored_size({0, size}, options.unit_sizes) + kOverheadBytes;
    if (options.objects.empty()) size = stored;
    bytes += stored;
  }
  std::vector<Size> sizes;
  if (!sizes_of(options, trace.objects, bytes, sizes)) return false;
  bool good = true;
  for (std::size_t i = 0; i != sizes.size(); ++i) {
    const Size& size = sizes[i];
    Options store_options;
    store_options.memory_bytes = size.bytes ? size.amount : kMemoryBytes;
    if (!size.bytes) {
      store_options.entries_max = size.amount;
      if (!options.memory.empty()) (void)parse_size(options.memory.front(), bytes, store_options.memory_bytes);  // as sizes_of has
    }
    store_options.size_aware = options.size_aware;
    store_options.hash_seed = 1;
    store_options.maintenance = Maintenance::kTick;  // one trace, one outcome
    store_options.name = "replay";
    HitRatios row;
    row.trace = name;
    row.capacity = size.amount;
    row.bytes = size.bytes;
    if (!published.empty()) {
      row.policies = published[i].policies;
    } else if (options.policies) {
      simulate(plain, size.amount, row);
    }
    good = replay_size(name, trace, options, store_options, quiet, row, report) && good;
    rows.push_back(std::move(row));
  }
  return good;
}

// Every row of a table of published hit ratios. Tells what the store does over all of them.
bool replay_cells(const ReplayOptions& options, bool quiet, std::vector<HitRatios>& rows,
                  nlohmann::ordered_json& report) {
  std::string error;
  const std::vector<HitRatios> cells = read_hit_ratio_cells(options.cells, error);
  if (!error.empty()) {
    std::fprintf(stderr, "tern replay: --cells: %s: %s\n", options.cells.c_str(), error.c_str());
    return false;
  }
  const std::filesystem::path folder = !options.directory.empty()
                                           ? std::filesystem::path(options.directory)
                                           : std::filesystem::path(options.cells).parent_path();
  bool good = true;
  for (std::size_t first = 0; first != cells.size();) {
    const std::string& name = cells[first].trace;
    ReplayOptions of_trace = options;
    of_trace.objects.clear();
    std::size_t end = first;
    for (; end != cells.size() && cells[end].trace == name; ++end)
      of_trace.objects.push_back(std::to_string(cells[end].capacity));
    std::filesystem::path file = folder / (name + ".csv.zst");
    if (!std::filesystem::exists(file)) file = folder / (name + ".csv");
    const Trace trace = read_trace_file(file.string(), options.format, options.requests_max);
    good = replay_trace(name, trace, of_trace, quiet, rows, report,
                        std::span(cells).subspan(first, end - first)) &&
           good;
    first = end;
  }
  const HitSummary s = summary(rows, "store");
  report.push_back({{"cells", rows.size()},
                    {"threads", options.threads},
                    {"gap_closed_percent", s.gap_closed_percent},
                    {"to_best_points", s.to_best_points},
                    {"worst_points", s.worst_points},
                    {"near_best_percent", s.near_best_percent}});
  return good;
}

}  // namespace

int run_replay(const ReplayOptions& options) {
  std::vector<std::string> files = options.files;
  if (!options.directory.empty() && options.cells.empty()) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(options.directory, error)) {
      TraceKind kind;
      // Only what declares itself compressed or oracleGeneral: a folder of traces may hold other
      // .csv files.
      const std::string path = entry.path().string();
      if (kind_of_name(path, kind) && (kind.zstd || kind.format == TraceFormat::kOracleGeneral))
        files.push_back(path);
    }
    if (error) {
      std::fprintf(stderr, "tern replay: %s: %s\n", options.directory.c_str(),
                   error.message().c_str());
      return 2;
    }
    std::sort(files.begin() + static_cast<std::ptrdiff_t>(options.files.size()), files.end());
  }
  if (files.empty() && options.synthetic.empty() && options.cells.empty()) {
    std::fprintf(stderr, "tern replay: no trace was named\n");
    return 2;
  }
  if (options.threads == 0 || options.threads > kThreadsMax) {
    std::fprintf(stderr, "tern replay: --threads must be from 1 to %u\n", kThreadsMax);
    return 2;
  }
  std::vector<Size> sizes;
  if (!sizes_of(options, 100, 100, sizes)) return 2;  // before anything begins
  const bool quiet = options.json == "-";
  if (!quiet) {
    std::printf("%-18s %11s %9s %9s %9s %8s %9s %7s %7s %7s %7s %8s %8s\n", "trace", "size",
                "requests", "hits", "misses", "ratio", "refused", "Mop/s", "wall", "p50 ns",
                "p99 ns", "p99.9 ns", "MB used");
  }
  auto report = nlohmann::ordered_json::array();
  bool good = true;
  std::vector<HitRatios> rows;
  if (!options.cells.empty()) good = replay_cells(options, quiet, rows, report);
  for (const std::string& file : files) {
    const Trace trace = read_trace_file(file, options.format, options.requests_max);
    good = replay_trace(short_name(file), trace, options, quiet, rows, report) && good;
  }
  for (const std::string& spec : options.synthetic)
    good = replay_trace(spec, synthetic_trace(spec), options, quiet, rows, report) && good;
  if (!quiet) print_hit_ratios(rows);
  if (!options.csv.empty()) good = write_hit_ratio_csv(rows, options.csv) && good;
  if (!options.plot.empty()) good = write_hit_ratio_plot(rows, options.plot) && good;
  if (!options.json.empty()) {
    // One run: its object alone; several: one object a line.
    std::string text;
    for (const auto& object : report) text += object.dump() + "\n";
    if (quiet) {
      std::cout << text << std::flush;
    } else {
      std::ofstream out(options.json, std::ios::binary | std::ios::trunc);
      out << text;
      out.flush();
      if (!out) {
        std::fprintf(stderr, "tern replay: %s can't be written\n", options.json.c_str());
        good = false;
      }
    }
  }
  return good ? 0 : 1;
}

}  // namespace tern::bench
