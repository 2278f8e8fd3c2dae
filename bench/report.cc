// The table for people.
#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "bench/results.h"

namespace tern::bench {
namespace {

std::string grouped(std::uint64_t n) {
  const std::string digits = std::to_string(n);
  std::string out;
  for (std::size_t i = 0; i != digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) out.push_back(',');
    out.push_back(digits[i]);
  }
  return out;
}

std::string time_text(std::uint64_t ns) {
  char text[32];
  if (ns < 10'000) {
    std::snprintf(text, sizeof text, "%" PRIu64 " ns", ns);
  } else if (ns < 10'000'000) {
    std::snprintf(text, sizeof text, "%.1f us", static_cast<double>(ns) / 1e3);
  } else {
    std::snprintf(text, sizeof text, "%.1f ms", static_cast<double>(ns) / 1e6);
  }
  return text;
}

// "2.51 (2.43 to 2.60)": with_spread; else the median alone.
std::string ratio_text(const Spread& s) {
  char text[64];
  std::snprintf(text, sizeof text, "%.2f", s.median);
  return text;
}

}  // namespace

void print_header(const Results& r) {
  const Machine& m = r.machine;
  std::printf("%s, %u processors, %.1f GiB, last cache %" PRIu64 " MiB; %s; %s; commit %s\n",
              m.processor.c_str(), m.processors,
              static_cast<double>(m.memory_bytes) / static_cast<double>(1u << 30),
              m.last_cache_bytes >> 20, m.kernel.c_str(), m.compiler.c_str(), r.commit.c_str());
  std::printf("huge pages %s%s%s; load %.1f\n",
              r.huge_pages ? "asked for by every store" : "refused to every store",
              m.governor.empty() ? "" : "; governor ", m.governor.c_str(), m.load);
  std::printf("%s\n", r.options.c_str());
  for (const std::string& note : r.notes) std::printf("note: %s\n", note.c_str());
  std::printf(
      "Mop/s: millions a second of the pinned threads' CPU time, median of the repeats; wall: of "
      "the timed part's wall "
      "time.\ntern /: Tern's rate divided by the row's, single calls, repeat by repeat. A row of "
      "groups: divided by the best "
      "peer.\nLatency: of one call (a group is one call), one chunk in sixteen, nothing overlaps. "
      "sum: of all "
      "values read, checked.\n");
  if (m.load > static_cast<double>(m.processors) * 0.5) {
    std::printf("The machine was busy (load %.1f): trust ratios, not rates.\n", m.load);
  }
}

void print_group(const Results& results, std::string_view workload, std::uint64_t keys) {
  std::vector<const Row*> rows;
  for (const Row& r : results.rows) {
    if (r.workload == workload && r.keys == keys && !r.mops.empty()) rows.push_back(&r);
  }
  if (rows.empty()) return;
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row* a, const Row* b) { return a->threads < b->threads; });
  std::printf("\n%.*s, %s entries\n", static_cast<int>(workload.size()), workload.data(),
              grouped(keys).c_str());
  std::printf("  %-16s %7s %8s %15s %8s %8s %9s %9s %9s %9s %8s %9s\n", "store", "threads", "Mop/s",
              "min - max", "wall", "tern /", "p50", "p99", "p99.9", "p99.99", "B/entry", "sum");
  for (const Row* r : rows) {
    const Spread s = spread(r->mops);
    char range[32];
    std::snprintf(range, sizeof range, "%.2f - %.2f", s.min, s.max);
    std::string ratio = "-";
    const Row* tern = results.find(workload, "tern", keys, r->threads, r->yardstick ? r->batch : 1);
    if (r->store == "tern") {
      const auto peers = results.peers(workload, keys, r->threads);
      if (r->mode != Mode::kPlain && !peers.empty())
        ratio = ratio_text(ratio_to_best(*r, peers)) + " x";
    } else if (tern != nullptr) {
      ratio = ratio_text(ratio_to_best(*tern, std::span<const Row* const>(&r, 1)));
    }
    char bytes[16] = "-";
    if (r->bytes_per_entry > 0) std::snprintf(bytes, sizeof bytes, "%.1f", r->bytes_per_entry);
    std::printf("  %-16s %7u %8.2f %15s %8.2f %8s %9s %9s %9s %9s %8s  %08" PRIx64 "%s\n",
                r->label().c_str(), r->threads, s.median, range, spread(r->wall_mops).median,
                ratio.c_str(), time_text(r->latency.percentile(0.5)).c_str(),
                time_text(r->latency.percentile(0.99)).c_str(),
                time_text(r->latency.percentile(0.999)).c_str(),
                time_text(r->latency.percentile(0.9999)).c_str(), bytes, r->sum & 0xFFFF'FFFFu,
                r->pinned ? "" : "  (not pinned)");
  }
  if (rows.front()->workload == "fill") {
    std::printf("  resident in huge pages:");
    for (const Row* r : rows) {
      if (r->threads == rows.front()->threads && r->mode == Mode::kPlain) {
        std::printf(" %s %.0f %%", r->store.c_str(), 100 * r->huge_share);
      }
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

void print_summary(const Results& results) {
  for (const Limit& l : results.limits) {
    std::printf(
        "\nThe machine's limit, %s entries: %.0f M random lines a second over %.0f MB, prefetched "
        "into the second "
        "level, %u in flight (%.0f into the first).\nA get of Tern's layout takes %.2f lines on "
        "average (record "
        "of %.0f bytes): %.1f M gets a second.\n",
        grouped(l.keys).c_str(), l.lines_mops.median, static_cast<double>(l.bytes) / 1e6,
        l.in_flight, l.first_level_mops.median, l.lines_per_get, l.record_bytes,
        l.lines_mops.median / l.lines_per_get);
    for (const Row& r : results.rows) {
      if (r.keys == l.keys && r.store == "tern" && r.workload == "get-uniform" && r.threads == 1 &&
          !r.mops.empty()) {
        std::printf("  %-16s %6.1f M: %3.0f %% of it\n", r.label().c_str(), spread(r.mops).median,
                    100 * spread(r.mops).median * l.lines_per_get / l.lines_mops.median);
      }
    }
  }
  unsigned least = ~0u, most = 0;
  for (const Row& r : results.rows) {
    least = std::min(least, r.threads);
    most = std::max(most, r.threads);
  }
  if (least < most) {
    std::printf("\nScaling of Tern: rate with n threads divided by that with %u\n", least);
    for (const Row& base : results.rows) {
      if (base.threads != least || base.store != "tern") continue;
      std::string line;
      for (const Row& r : results.rows) {
        if (r.workload != base.workload || r.store != base.store || r.keys != base.keys ||
            r.batch != base.batch || r.mode != base.mode || r.threads == least) {
          continue;
        }
        const Row* const one = &base;
        char text[64];
        std::snprintf(text, sizeof text, "  %u: %.2f", r.threads,
                      ratio_to_best(r, std::span<const Row* const>(&one, 1)).median);
        line += text;
      }
      if (!line.empty()) {
        std::printf("  %-12s %10s  %-16s%s\n", base.workload.c_str(), grouped(base.keys).c_str(),
                    base.label().c_str(), line.c_str());
      }
    }
  }
}

void print_targets(const Results& results) {
  if (results.targets.empty()) return;
  std::printf("\n%-28s %8s %17s %9s %9s   %s\n", "target", "value", "min - max", "floor", "goal",
              "against");
  for (const Target& t : results.targets) {
    char range[40], floor[24] = "-", goal[24] = "-";
    std::snprintf(range, sizeof range, "%.3g - %.3g", t.value.min, t.value.max);
    const char* const relation = t.less_is_better ? "<=" : ">=";
    if (t.floor > 0) std::snprintf(floor, sizeof floor, "%s %.4g", relation, t.floor);
    if (t.goal > 0) std::snprintf(goal, sizeof goal, "%s %.4g", relation, t.goal);
    std::printf("%-28s %8.4g %17s %9s %9s   %s%s (%s)\n", t.id.c_str(), t.value.median, range,
                floor, goal,
                !t.judged  ? ""
                : t.pass() ? (t.goal > 0 && t.goal_reached() ? "PASS, goal reached; " : "PASS; ")
                           : "FAIL; ",
                t.against.c_str(), t.unit.c_str());
  }
}

}  // namespace tern::bench
