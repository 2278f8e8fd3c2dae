#include "bench/hit_ratios.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "bench/options.h"
#include "bench/synthetic.h"

namespace tern::bench {
namespace {

HitRatios row(double store, double lru, double arc, double optimum) {
  return {"t", 10, false, store, {{"lru", lru}, {"arc", arc}, {"optimum", optimum}}};
}

TEST(HitRatios, SummaryByHand) {
  const std::vector<HitRatios> rows = {row(0.5, 0.4, 0.45, 0.6), row(0.296, 0.3, 0.3, 0.4),
                                       row(0.7, 0.7, 0.75, 0.702)};
  const HitSummary s = summary(rows, "store");
  EXPECT_NEAR(s.gap_closed_percent, (50 - 4) / 2.0, 1e-9);  // the third row has no gap
  EXPECT_NEAR(s.to_best_points, (5 - 0.4 - 5) / 3, 1e-9);
  EXPECT_NEAR(s.worst_points, -0.4, 1e-9);
  EXPECT_NEAR(s.near_best_percent, 200.0 / 3, 1e-9);
  EXPECT_EQ(summary(rows, "optimum").gap_closed_percent, 100);
  EXPECT_EQ(summary(rows, "mru").gap_closed_percent, 0);
}

TEST(HitRatios, CsvHasAColumnForEachPolicy) {
  const std::string path = ::testing::TempDir() + "hit_ratios.csv";
  ASSERT_TRUE(write_hit_ratio_csv({row(0.5, 0.25, 0.75, 1)}, path));
  std::ifstream in(path);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_EQ(text, "trace,capacity,unit,store,lru,arc,optimum\nt,10,objects,0.5,0.25,0.75,1\n");
  std::remove(path.c_str());
  EXPECT_FALSE(write_hit_ratio_csv({}, ::testing::TempDir() + "none/such/folder.csv"));
}

std::string written(const std::string& name, const std::string& text) {
  const std::string path = ::testing::TempDir() + name;
  std::ofstream(path) << text;
  return path;
}

TEST(HitRatios, CellsAreReadWithTheirNames) {
  std::string error;
  const auto cells = read_hit_ratio_cells(
      written("cells.csv", "trace,cache_objects,LRU,W-TinyLFU,OPT\na,5,0.25,0.5,1\nb,70,0,0.125,0.75\r\n"), error);
  EXPECT_EQ(error, "");
  ASSERT_EQ(cells.size(), 2u);
  EXPECT_EQ(cells[1].trace, "b");
  EXPECT_EQ(cells[1].capacity, 70u);
  EXPECT_EQ(cells[0].of("lru"), 0.25);
  EXPECT_EQ(cells[1].of("w-tinylfu"), 0.125);
  EXPECT_EQ(cells[0].of("optimum"), 1);
  const auto refuses = [&](const char* text, const char* why) {
    error.clear();
    EXPECT_TRUE(read_hit_ratio_cells(written("cells.csv", text), error).empty()) << text;
    EXPECT_NE(error.find(why), std::string::npos) << error;
  };
  refuses("", "can't be read");
  refuses("trace,objects,LRU\n", "line 1");
  refuses("trace,cache_objects,LRU\na,5,0.25\na,6\n", "line 3");
  refuses("trace,cache_objects,LRU\na,0,0.25\n", "line 2");
  refuses("trace,cache_objects,LRU\na,5,1.25\n", "line 2");
  refuses("trace,cache_objects,LRU\na,five,0.25\n", "line 2");
}

// A loop over 20 keys in a cache of 10: LRU finds nothing, the store keeps a part.
TEST(HitRatios, CellsRunThroughTheStore) {
  std::string trace = "key,size\n";
  for (int i = 0; i < 20'000; ++i) trace += std::to_string(i % 20) + ",1\n";
  written("loop20.csv", trace);
  ReplayOptions options;
  options.cells = written("cells.csv", "trace,cache_objects,LRU,OPT\nloop20,10,0,0.474\nloop20,20,0.999,0.999\n");
  options.json = ::testing::TempDir() + "cells.json";
  ASSERT_EQ(run_replay(options), 0);
  std::ifstream in(options.json);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  ASSERT_EQ(lines.size(), 3u);
  const auto number = [&](std::size_t line, const std::string& name) {
    const std::size_t at = lines[line].find('"' + name + "\":");
    return at == std::string::npos ? -1 : std::stod(lines[line].substr(at + name.size() + 3));
  };
  EXPECT_GT(number(0, "hit_ratio"), 0.25);
  EXPECT_EQ(number(0, "optimum"), 0.474);
  EXPECT_NEAR(number(1, "hit_ratio"), 0.999, 1e-9);
  EXPECT_EQ(number(2, "cells"), 2);
  EXPECT_NEAR(number(2, "gap_closed_percent"), 100 * number(0, "hit_ratio") / 0.474, 0.01);
  options.cells = written("cells.csv", "trace,cache_objects,LRU,OPT\nnone,10,0,0.474\n");
  EXPECT_EQ(run_replay(options), 1);
}

TEST(Synthetic, IsDeterministicInItsSeed) {
  const auto keys = [](const char* spec) {
    std::vector<std::uint64_t> out;
    for (const Request& r : synthetic_trace(spec).requests) out.push_back(r.key);
    return out;
  };
  EXPECT_EQ(keys("zipf:requests=1000"), keys("zipf:requests=1000,seed=1"));
  EXPECT_NE(keys("zipf:requests=1000"), keys("zipf:requests=1000,seed=2"));
}

TEST(Synthetic, UniformAsksForAllAlike) {
  const Trace t = synthetic_trace("uniform:objects=100,requests=100000");
  EXPECT_EQ(t.objects, 100u);
  std::map<std::uint64_t, int> seen;
  for (const Request& r : t.requests) ++seen[r.key];
  for (const auto& [key, times] : seen) EXPECT_NEAR(times, 1'000, 200);
}

TEST(Synthetic, LoopComesAround) {
  const Trace t = synthetic_trace("loop:objects=7,requests=70");
  ASSERT_EQ(t.requests.size(), 70u);
  for (std::size_t i = 7; i < 70; ++i) EXPECT_EQ(t.requests[i].key, t.requests[i - 7].key);
  EXPECT_EQ(t.objects, 7u);
}

TEST(Synthetic, ScanBringsKeysThatNeverReturn) {
  const Trace t = synthetic_trace("scan:objects=50,requests=11000,period=1000");
  EXPECT_GE(t.objects, 1'000u);  // ten scans of a hundred
  EXPECT_LE(t.objects, 1'050u);
}

TEST(Synthetic, ShiftMovesTheFavourites) {
  const Trace t = synthetic_trace("shift:objects=1000,requests=20000,period=10000,theta=0.99");
  const auto favourite = [&](std::size_t from) {
    std::map<std::uint64_t, int> seen;
    for (std::size_t i = from; i < from + 10'000; ++i) ++seen[t.requests[i].key];
    return std::max_element(seen.begin(), seen.end(),
                            [](auto& a, auto& b) { return a.second < b.second; })
        ->first;
  };
  EXPECT_NE(favourite(0), favourite(10'000));
}

TEST(Synthetic, AnObjectKeepsItsSize) {
  const Trace t = synthetic_trace("sized:objects=100,requests=10000");
  std::map<std::uint64_t, std::uint32_t> sizes;
  std::set<std::uint32_t> distinct;
  for (const Request& r : t.requests) {
    EXPECT_EQ(sizes.try_emplace(r.key, r.size).first->second, r.size);
    EXPECT_TRUE((r.size >= 64 && r.size <= 256) || (r.size >= 4'096 && r.size <= 65'536));
    distinct.insert(r.size);
  }
  EXPECT_GT(distinct.size(), 20u);
  EXPECT_EQ(synthetic_trace("zipf:sizes=8+9,requests=10").error, "");
}

TEST(Synthetic, BadSpecificationsAreNamed) {
  for (const char* const spec :
       {"", "zip", "zipf:objects", "zipf:objects=", "zipf:objects=0", "zipf:objects=x",
        "zipf:theta=1", "zipf:theta=nan", "zipf:size=3", "zipf:sizes=3-", "zipf:,"}) {
    const Trace t = synthetic_trace(spec);
    EXPECT_NE(t.error, "") << spec;
    EXPECT_TRUE(t.requests.empty()) << spec;
  }
}

}  // namespace
}  // namespace tern::bench
