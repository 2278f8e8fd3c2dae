// Patterns a second: Tern's globs beside glibc's fnmatch and, where it is found, regular expressions by RE2 that say the
// same. Interleaved, the median of seven rounds. A program, not a test.
#include <fnmatch.h>
#include <tern/pattern.h>
#include <tern/regex.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <random>
#include <string>
#include <vector>

namespace {

// The thread's own time: others use this machine too.
double cpu_us() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

std::vector<std::string> keys_of_a_game() {
  std::mt19937_64 random(1);
  constexpr const char* kKinds[] = {"player", "actor", "room", "match"};
  constexpr const char* kFields[] = {"hp", "pos", "state", "inventory"};
  std::vector<std::string> keys;
  for (int n = 0; n != 4'096; ++n) {
    keys.push_back(std::string(kKinds[random() % 4]) + "/" + std::to_string(random() % 100'000) + "/" + kFields[random() % 4]);
  }
  return keys;
}

template <class Fn>
double mops(const std::vector<std::string>& keys, std::uint64_t& matched, Fn&& fn) {
  const double start = cpu_us();
  constexpr int kPasses = 20;
  for (int pass = 0; pass != kPasses; ++pass) {
    for (const std::string& key : keys) matched += fn(key);
  }
  const double us = cpu_us() - start;
  return kPasses * static_cast<double>(keys.size()) / us;
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

}  // namespace

int main() {
  struct Row {
    const char* glob;   // separator /
    const char* shell;  // the same for fnmatch, null: it has no such thing
    const char* regex;
  };
  const Row rows[] = {
      {"player/*/hp", "player/*/hp", "player/[^/]*/hp"},
      {"*/*/hp", "*/*/hp", "[^/]*/[^/]*/hp"},
      {"*/??1*/[hp]*", "*/??1*/[hp]*", "[^/]*/[^/][^/]1[^/]*/[hp][^/]*"},
      {"**/inventory", nullptr, ".*/inventory"},
      {"{player,actor}/*/{hp,pos}", nullptr, "(player|actor)/[^/]*/(hp|pos)"},
  };
  const std::vector<std::string> keys = keys_of_a_game();
  std::printf("million keys a second\n%-28s %8s %8s %8s   %s\n", "pattern", "tern", "fnmatch", "re2", "matching");
  for (const Row& row : rows) {
    const auto glob = tern::Pattern::compile(row.glob, {.separator = '/'});
    const auto regex = tern::Regex::compile(row.regex);
    if (!glob) return 1;
    std::vector<double> by_tern, by_shell, by_regex;
    std::uint64_t matched[3] = {};
    for (int round = 0; round != 7; ++round) {
      by_tern.push_back(mops(keys, matched[0], [&](const std::string& k) { return glob->matches(k); }));
      if (row.shell != nullptr) {
        by_shell.push_back(
            mops(keys, matched[1], [&](const std::string& k) { return fnmatch(row.shell, k.c_str(), FNM_PATHNAME) == 0; }));
      }
      if (regex) by_regex.push_back(mops(keys, matched[2], [&](const std::string& k) { return regex->matches(k); }));
    }
    if ((row.shell != nullptr && matched[1] != matched[0]) || (regex && matched[2] != matched[0])) {
      std::printf("%s: they differ\n", row.glob);
      return 1;
    }
    const auto cell = [](const std::vector<double>& v) { return v.empty() ? std::string("-") : std::to_string(median(v)).substr(0, 5); };
    std::printf("%-28s %8s %8s %8s   %llu%%\n", row.glob, cell(by_tern).c_str(), cell(by_shell).c_str(), cell(by_regex).c_str(),
                static_cast<unsigned long long>(matched[0] * 100 / (7 * 20 * keys.size())));
  }
  return 0;
}
