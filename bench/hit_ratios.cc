#include "bench/hit_ratios.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace tern::bench {
namespace {

bool online(const std::string& name) { return name != "optimum" && name != "tern"; }

std::vector<std::string> traces_of(const std::vector<HitRatios>& rows) {
  std::vector<std::string> names;
  for (const HitRatios& r : rows) {
    if (std::find(names.begin(), names.end(), r.trace) == names.end()) names.push_back(r.trace);
  }
  return names;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out;
}

}  // namespace

double HitRatios::of(const std::string& name) const {
  if (name == "store") return store;
  for (const auto& [policy, ratio] : policies) {
    if (policy == name) return ratio;
  }
  return -1;
}

HitSummary summary(const std::vector<HitRatios>& rows, const std::string& name) {
  HitSummary s;
  double with_gap = 0, all = 0;
  for (const HitRatios& r : rows) {
    const double own = r.of(name), lru = r.of("lru"), optimum = r.of("optimum");
    if (own < 0 || lru < 0 || optimum < 0) continue;
    double best = 0;
    for (const auto& [policy, ratio] : r.policies) {
      if (online(policy)) best = std::max(best, ratio);
    }
    if (optimum - lru > 0.005) {
      s.gap_closed_percent += 100 * (own - lru) / (optimum - lru);
      ++with_gap;
    }
    s.to_best_points += 100 * (own - best);
    s.worst_points = all == 0 ? 100 * (own - lru) : std::min(s.worst_points, 100 * (own - lru));
    s.near_best_percent += own >= best - 0.005 ? 100 : 0;
    ++all;
  }
  if (with_gap > 0) s.gap_closed_percent /= with_gap;
  if (all > 0) {
    s.to_best_points /= all;
    s.near_best_percent /= all;
  }
  return s;
}

std::vector<HitRatios> read_hit_ratio_cells(const std::string& path, std::string& error) {
  std::ifstream in(path);
  std::string line;
  const auto fields = [&line] {
    std::vector<std::string> all;
    if (line.ends_with('\r')) line.pop_back();
    std::istringstream text(line);
    for (std::string field; std::getline(text, field, ',');) all.push_back(field);
    return all;
  };
  if (!std::getline(in, line)) {
    error = "can't be read";
    return {};
  }
  std::vector<std::string> names = fields();
  if (names.size() < 3 || names[0] != "trace" || names[1] != "cache_objects") {
    error = "line 1: no trace,cache_objects,NAME,...";
    return {};
  }
  for (std::string& name : names) {
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    if (name == "opt") name = "optimum";
  }
  std::vector<HitRatios> cells;
  for (unsigned number = 2; std::getline(in, line); ++number) {
    const std::vector<std::string> values = fields();
    HitRatios cell;
    bool good = values.size() == names.size();
    for (std::size_t i = 1; good && i < values.size(); ++i) {
      char* end = nullptr;
      const double value = std::strtod(values[i].c_str(), &end);
      good = end != values[i].c_str() && *end == 0 && value >= 0 && (i == 1 ? value >= 1 && value < 1e15 : value <= 1);
      if (i == 1) cell.capacity = good ? static_cast<std::uint64_t>(value) : 0;
      if (i != 1) cell.policies.emplace_back(names[i], value);
    }
    if (!good) {
      error = "line " + std::to_string(number) + ": a trace, a number of objects and ratios from 0 to 1 were expected";
      return {};
    }
    cell.trace = values[0];
    cells.push_back(std::move(cell));
  }
  return cells;
}

void print_hit_ratios(const std::vector<HitRatios>& rows) {
  if (rows.empty() || rows.front().policies.empty()) return;
  std::printf("\nhit ratio, %%%-14s %14s %10s", "", rows.front().bytes ? "bytes" : "objects",
              "store");
  for (const auto& [policy, ratio] : rows.front().policies) std::printf(" %10s", policy.c_str());
  std::printf("\n");
  for (const HitRatios& r : rows) {
    std::printf("%-26s %14llu %10.2f", r.trace.c_str(), static_cast<unsigned long long>(r.capacity),
                100 * r.store);
    for (const auto& [policy, ratio] : r.policies) std::printf(" %10.2f", 100 * ratio);
    std::printf("\n");
  }
  const struct {
    const char* what;
    double HitSummary::*value;
  } lines[] = {{"gap LRU-optimum closed, %", &HitSummary::gap_closed_percent},
               {"to the best, points", &HitSummary::to_best_points},
               {"worst against LRU, points", &HitSummary::worst_points},
               {"near the best, % of rows", &HitSummary::near_best_percent}};
  for (const auto& line : lines) {
    std::printf("%-26s %14s %10.2f", line.what, "", summary(rows, "store").*line.value);
    for (const auto& [policy, ratio] : rows.front().policies)
      std::printf(" %10.2f", summary(rows, policy).*line.value);
    std::printf("\n");
  }
  std::fflush(stdout);
}

bool write_hit_ratio_csv(const std::vector<HitRatios>& rows, const std::string& path) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << "trace,capacity,unit,store";
  if (!rows.empty()) {
    for (const auto& [policy, ratio] : rows.front().policies) out << ',' << policy;
  }
  out << '\n';
  for (const HitRatios& r : rows) {
    out << r.trace << ',' << r.capacity << ',' << (r.bytes ? "bytes" : "objects") << ',' << r.store;
    for (const auto& [policy, ratio] : r.policies) out << ',' << ratio;
    out << '\n';
  }
  out.flush();
  if (!out) std::fprintf(stderr, "tern replay: %s can't be written\n", path.c_str());
  return static_cast<bool>(out);
}

bool write_hit_ratio_plot(const std::vector<HitRatios>& rows, const std::string& path) {
  if (rows.empty()) return true;
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) {
    std::fprintf(stderr,
                 "tern replay: no plot: gnuplot was not found (apt-get install gnuplot-nox)\n");
    return true;
  }
  std::FILE* const pipe = popen("gnuplot", "w");
  if (pipe == nullptr) return false;
  const std::vector<std::string> traces = traces_of(rows);
  const std::size_t columns = std::min<std::size_t>(traces.size(), 3);
  const std::size_t lines = (traces.size() + columns - 1) / columns;
  const bool png = path.ends_with(".png");
  std::fprintf(
      pipe, "set terminal %s size %zu,%zu\nset output '%s'\nset multiplot layout %zu,%zu\n",
      png ? "pngcairo" : "svg", columns * 700, lines * 420, escaped(path).c_str(), lines, columns);
  std::fprintf(pipe,
               "set logscale x\nset grid\nset ylabel 'hit ratio, %%'\nset xlabel '%s'\n"
               "set key outside right top font ',8'\n",
               rows.front().bytes ? "bytes" : "objects");
  for (const std::string& trace : traces) {
    std::fprintf(pipe, "$d << END\n");
    for (const HitRatios& r : rows) {
      if (r.trace != trace) continue;
      std::fprintf(pipe, "%llu %.4f", static_cast<unsigned long long>(r.capacity), 100 * r.store);
      for (const auto& [policy, ratio] : r.policies) std::fprintf(pipe, " %.4f", 100 * ratio);
      std::fputc('\n', pipe);
    }
    std::fprintf(pipe, "END\nset title '%s'\nplot $d using 1:2 with linespoints lw 2 title 'store'",
                 escaped(trace).c_str());
    for (std::size_t i = 0; i < rows.front().policies.size(); ++i)
      std::fprintf(pipe, ", $d using 1:%zu with linespoints title '%s'", i + 3,
                   rows.front().policies[i].first.c_str());
    std::fputc('\n', pipe);
  }
  std::fprintf(pipe, "unset multiplot\n");
  if (pclose(pipe) == 0) return true;
  std::fprintf(stderr, "tern replay: gnuplot could not draw %s\n", path.c_str());
  return false;
}

}  // namespace tern::bench
