// `tern replay`: a trace through the store as a look-aside cache. A request is a get; after a miss
// the object is set, as a service behind the cache would do. Threads take the requests in turns of
// 64, so their order is nearly the trace's.
#include <tern/store.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/histogram.h"
#include "bench/machine.h"
#include "bench/options.h"
#include "bench/slice.h"
#include "bench/traces.h"

namespace tern::bench {
namespace {

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

// What the store refused is a finding of its own: a cache that can't make room serves, but keeps
// nothing new.
bool replay_file(const std::string& path, const ReplayOptions& options, bool quiet,
                 nlohmann::ordered_json& report) {
  const Trace trace = read_trace_file(path, options.format, options.requests_max);
  if (!trace.error.empty()) {
    std::fprintf(stderr, "tern replay: %s: %s\n", path.c_str(), trace.error.c_str());
    return false;
  }
  Options store_options;
  store_options.memory_bytes = options.memory_bytes;
  store_options.entries_max = options.entries_max;
  store_options.hash_seed = 1;
  store_options.name = "replay";
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
  const double ratio =
      requests == 0 ? 0 : static_cast<double>(sum.hits) / static_cast<double>(requests);
  const Stats stats = store.stats();
  if (!quiet) {
    std::printf("%-18s %9llu %9llu %9llu %9llu %8.4f %9llu %7.2f %7.2f %7llu %7llu %8llu %8.1f\n",
                short_name(path).c_str(), static_cast<unsigned long long>(trace.objects),
                static_cast<unsigned long long>(requests),
                static_cast<unsigned long long>(sum.hits),
                static_cast<unsigned long long>(sum.misses), ratio,
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
  report.push_back({{"trace", short_name(path)},
                    {"objects", trace.objects},
                    {"threads", options.threads},
                    {"requests", requests},
                    {"hits", sum.hits},
                    {"hit_ratio", ratio},
                    {"mops", mops},
                    {"misses", sum.misses},
                    {"refused", sum.refused},
                    {"p50_ns", sum.latency.percentile(0.5)},
                    {"p99_ns", sum.latency.percentile(0.99)},
                    {"p999_ns", sum.latency.percentile(0.999)},
                    {"memory_used_bytes", stats.memory_used_bytes},
                    {"entries", stats.entries}});
  if (sum.wrong == 0) return true;
  std::fprintf(stderr, "tern replay: %s: %llu hits gave another object's bytes\n", path.c_str(),
               static_cast<unsigned long long>(sum.wrong));
  return false;
}

}  // namespace

int run_replay(const ReplayOptions& options) {
  std::vector<std::string> files = options.files;
  if (!options.directory.empty()) {
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
  if (files.empty()) {
    std::fprintf(stderr, "tern replay: no trace was named\n");
    return 2;
  }
  if (options.threads == 0 || options.threads > kThreadsMax) {
    std::fprintf(stderr, "tern replay: --threads must be from 1 to %u\n", kThreadsMax);
    return 2;
  }
  const bool quiet = options.json == "-";
  if (!quiet) {
    std::printf("%-18s %9s %9s %9s %9s %8s %9s %7s %7s %7s %7s %8s %8s\n", "trace", "objects",
                "requests", "hits", "misses", "ratio", "refused", "Mop/s", "wall", "p50 ns",
                "p99 ns", "p99.9 ns", "MB used");
  }
  auto report = nlohmann::ordered_json::array();
  bool good = true;
  for (const std::string& file : files) good = replay_file(file, options, quiet, report) && good;
  if (!options.json.empty()) {
    // One trace: its object alone; several: one object a line.
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
