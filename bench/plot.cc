// A picture of the table: bars for each workload and store, and, with several numbers of threads,
// the curves over them. Drawn by gnuplot, which is asked to through a pipe.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "bench/results.h"

namespace tern::bench {
namespace {

std::vector<std::string> distinct(const Results& results, std::string (*of)(const Row&)) {
  std::vector<std::string> found;
  for (const Row& r : results.rows) {
    if (r.mops.empty()) continue;
    const std::string text = of(r);
    bool known = false;
    for (const std::string& f : found) known = known || f == text;
    if (!known) found.push_back(text);
  }
  return found;
}

void bars(std::FILE* pipe, const Results& results, std::uint64_t keys, unsigned threads) {
  const auto workloads = distinct(results, [](const Row& r) { return r.workload; });
  const auto labels = distinct(results, [](const Row& r) { return r.label(); });
  std::fprintf(pipe, "$bars << END\nworkload");
  for (const std::string& l : labels) std::fprintf(pipe, "\t\"%s\"", l.c_str());
  std::fputc('\n', pipe);
  for (const std::string& w : workloads) {
    std::fprintf(pipe, "\"%s\"", w.c_str());
    for (const std::string& l : labels) {
      double mops = -1;
      for (const Row& r : results.rows) {
        if (r.workload == w && r.label() == l && r.keys == keys && r.threads == threads)
          mops = spread(r.mops).median;
      }
      if (mops > 0) {
        std::fprintf(pipe, "\t%.4f", mops);
      } else {
        std::fprintf(pipe, "\t?");
      }
    }
    std::fputc('\n', pipe);
  }
  std::fprintf(pipe, "END\n");
  std::fprintf(pipe, "set title '%llu entries, %u thread%s'\n",
               static_cast<unsigned long long>(keys), threads, threads == 1 ? "" : "s");
  std::fprintf(
      pipe,
      "set style data histogram\nset style histogram clustered gap 1\nset style fill solid 0.8\n"
      "set logscale y\nset ylabel 'million operations a second of CPU time'\nset xtics rotate by "
      "-25\nset grid y\n"
      "set key outside right top\nset datafile missing '?'\n"
      "plot for [i=2:%zu] $bars using i:xtic(1) title columnheader(i)\n",
      labels.size() + 1);
}

void curves(std::FILE* pipe, const Results& results, std::uint64_t keys) {
  const auto labels = distinct(results, [](const Row& r) { return r.label() + ", " + r.workload; });
  std::vector<std::string> drawn;
  std::string plot;
  for (const std::string& l : labels) {
    std::string points;
    unsigned count = 0;
    for (const Row& r : results.rows) {
      if (r.label() + ", " + r.workload != l || r.keys != keys || r.mops.empty() ||
          r.workload == "fill")
        continue;
      points += std::to_string(r.threads) + ' ' + std::to_string(spread(r.mops).median) + '\n';
      ++count;
    }
    if (count < 2) continue;
    const std::string name = "$c" + std::to_string(drawn.size());
    std::fprintf(pipe, "%s << END\n%sEND\n", name.c_str(), points.c_str());
    plot +=
        (plot.empty() ? "plot " : ", ") + name + " using 1:2 with linespoints title '" + l + "'";
    drawn.push_back(l);
  }
  std::fprintf(pipe,
               "set title '%llu entries, by threads'\nset xlabel 'threads'\nset xtics norotate "
               "1\nset logscale y\n"
               "set key outside right top font ',8'\n%s\n",
               static_cast<unsigned long long>(keys), plot.c_str());
}

}  // namespace

bool write_plot(const Results& results, const std::string& path) {
  if (results.rows.empty()) return true;
  if (std::system("command -v gnuplot >/dev/null 2>&1") != 0) {
    std::fprintf(stderr,
                 "tern bench: no plot: gnuplot was not found (apt-get install gnuplot-nox)\n");
    return true;
  }
  const bool png = path.size() > 4 && path.compare(path.size() - 4, 4, ".png") == 0;
  std::FILE* const pipe = popen("gnuplot", "w");
  if (pipe == nullptr) return false;
  std::vector<std::uint64_t> sizes;
  unsigned least = ~0u, most = 0;
  for (const Row& r : results.rows) {
    if (sizes.empty() || sizes.back() != r.keys) sizes.push_back(r.keys);
    least = std::min(least, r.threads);
    most = std::max(most, r.threads);
  }
  const std::size_t pictures = sizes.size() * (least < most ? 2 : 1);
  std::string quoted;
  for (const char c : path) quoted += c == '\'' ? std::string("''") : std::string(1, c);
  std::fprintf(pipe, "set terminal %s size 1300,%zu\nset output '%s'\nset multiplot layout %zu,1\n",
               png ? "pngcairo" : "svg", pictures * 480, quoted.c_str(), pictures);
  for (const std::uint64_t keys : sizes) {
    std::fprintf(pipe, "reset\n");
    bars(pipe, results, keys, least);
    if (least < most) {
      std::fprintf(pipe, "reset\n");
      curves(pipe, results, keys);
    }
  }
  std::fprintf(pipe, "unset multiplot\n");
  if (pclose(pipe) == 0) return true;
  std::fprintf(stderr, "tern bench: gnuplot could not draw %s\n", path.c_str());
  return false;
}

}  // namespace tern::bench
