// JSON, CSV and .hgrm files.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "bench/results.h"

namespace tern::bench {
namespace {

// "-" is the standard output.
bool write_text(const std::string& path, const std::string& text) {
  if (path == "-") {
    std::cout << text << std::flush;
    return true;
  }
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.flush();
  if (out) return true;
  std::fprintf(stderr, "tern bench: %s can't be written\n", path.c_str());
  return false;
}

// "tern", "tern session" and "tern prefetch" differ in the call, groups in `batch`.
std::string store_name(const Row& r) { return r.mode == Mode::kBatch ? r.store : r.label(); }

std::string hgrm(const Histogram& h) {
  std::string out = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
  char line[128];
  // Five steps for each halving of the distance to 1, as HdrHistogram's own writer does.
  constexpr int kStepsPerHalving = 5;
  double share = 0, half = 1;
  bool last = h.count() == 0;
  while (!last) {
    for (int step = 0; step < kStepsPerHalving; ++step) {
      const std::uint64_t value = h.percentile(share);
      const std::uint64_t upto = h.count_up_to(value);
      if (upto == h.count()) {
        last = true;
        break;
      }
      std::snprintf(line, sizeof line, "%12.3f %2.12f %10llu %14.2f\n", static_cast<double>(value),
                    share, static_cast<unsigned long long>(upto), 1 / (1 - share));
      out += line;
      share += half / 2 / kStepsPerHalving;
    }
    half /= 2;
  }
  std::snprintf(line, sizeof line, "%12.3f %2.12f %10llu\n", static_cast<double>(h.max()), 1.0,
                static_cast<unsigned long long>(h.count()));
  out += line;
  std::snprintf(line, sizeof line, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", h.mean(),
                h.deviation());
  out += line;
  std::snprintf(line, sizeof line, "#[Max     = %12.3f, Total count    = %12llu]\n",
                static_cast<double>(h.max()), static_cast<unsigned long long>(h.count()));
  out += line;
  std::snprintf(line, sizeof line, "#[Buckets = %12u, SubBuckets     = %12llu]\n",
                Histogram::kValueBits, static_cast<unsigned long long>(Histogram::kSteps));
  out += line;
  return out;
}

}  // namespace

bool write_json(const Results& results, const std::string& path) {
  using nlohmann::ordered_json;
  const Machine& m = results.machine;
  ordered_json doc;
  doc["machine"] = {{"processor", m.processor},
                    {"processors", m.processors},
                    {"memory_bytes", m.memory_bytes},
                    {"last_cache_bytes", m.last_cache_bytes},
                    {"kernel", m.kernel},
                    {"compiler", m.compiler},
                    {"huge_pages", results.huge_pages},
                    {"transparent_hugepage", m.huge_pages},
                    {"load", m.load}};
  doc["commit"] = results.commit;
  doc["targets"] = ordered_json::array();
  for (const Target& t : results.targets) {
    ordered_json target = {{"id", t.id},         {"value", t.value.median}, {"unit", t.unit},
                           {"min", t.value.min}, {"max", t.value.max},      {"against", t.against}};
    if (t.judged) {
      target["floor"] = t.floor;
      if (t.goal > 0) target["goal"] = t.goal;
      target["pass"] = t.pass();
    }
    doc["targets"].push_back(std::move(target));
  }
  doc["results"] = ordered_json::array();
  for (const Row& r : results.rows) {
    if (r.mops.empty()) continue;
    const Spread s = spread(r.mops);
    char sum[24];
    std::snprintf(sum, sizeof sum, "%016llx", static_cast<unsigned long long>(r.sum));
    doc["results"].push_back({{"workload", r.workload},
                              {"store", store_name(r)},
                              {"keys", r.keys},
                              {"value_bytes", r.value_bytes},
                              {"threads", r.threads},
                              {"batch", r.batch},
                              {"mops", s.median},
                              {"mops_min", s.min},
                              {"mops_max", s.max},
                              {"p50_ns", r.latency.percentile(0.5)},
                              {"p99_ns", r.latency.percentile(0.99)},
                              {"p999_ns", r.latency.percentile(0.999)},
                              {"p9999_ns", r.latency.percentile(0.9999)},
                              {"bytes_per_entry", r.bytes_per_entry},
                              {"mops_wall", spread(r.wall_mops).median},
                              {"resident_bytes_per_entry", r.resident_per_entry},
                              {"huge_page_share", r.huge_share},
                              {"repeats", r.mops.size()},
                              {"sum", sum}});
  }
  doc["limits"] = ordered_json::array();
  for (const Limit& l : results.limits) {
    doc["limits"].push_back({{"keys", l.keys},
                             {"bytes", l.bytes},
                             {"lines_mops", l.lines_mops.median},
                             {"lines_mops_min", l.lines_mops.min},
                             {"lines_mops_max", l.lines_mops.max},
                             {"first_level_mops", l.first_level_mops.median},
                             {"in_flight", l.in_flight},
                             {"record_bytes", l.record_bytes},
                             {"lines_per_get", l.lines_per_get}});
  }
  doc["errors"] = results.errors;
  return write_text(path, doc.dump(2) + "\n");
}

bool write_csv(const Results& results, const std::string& path) {
  std::string out =
      "workload,store,keys,value_bytes,threads,batch,mops,mops_min,mops_max,mops_wall,p50_ns,p99_"
      "ns,p999_ns,p9999_ns,"
      "bytes_per_entry\n";
  for (const Row& r : results.rows) {
    if (r.mops.empty()) continue;
    const Spread s = spread(r.mops);
    char line[512];
    std::snprintf(
        line, sizeof line, "%s,%s,%llu,%u,%u,%u,%.4f,%.4f,%.4f,%.4f,%llu,%llu,%llu,%llu,%.2f\n",
        r.workload.c_str(), store_name(r).c_str(), static_cast<unsigned long long>(r.keys),
        r.value_bytes, r.threads, r.batch, s.median, s.min, s.max, spread(r.wall_mops).median,
        static_cast<unsigned long long>(r.latency.percentile(0.5)),
        static_cast<unsigned long long>(r.latency.percentile(0.99)),
        static_cast<unsigned long long>(r.latency.percentile(0.999)),
        static_cast<unsigned long long>(r.latency.percentile(0.9999)), r.bytes_per_entry);
    out += line;
  }
  return write_text(path, out);
}

bool write_hgrm(const Results& results, const std::string& prefix) {
  for (const Row& r : results.rows) {
    if (r.latency.count() == 0) continue;
    std::string name = r.workload + '-' + r.label() + '-' + std::to_string(r.keys) + "-t" +
                       std::to_string(r.threads);
    for (char& c : name) {
      if (c == ' ') c = '_';
    }
    if (!write_text(prefix + name + ".hgrm", hgrm(r.latency))) return false;
  }
  return true;
}

}  // namespace tern::bench
