#include "bench/traces.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <sstream>

namespace tern::bench {
namespace {

constexpr TraceKind kCsv{TraceFormat::kCsv, false};
constexpr TraceKind kCsvZstd{TraceFormat::kCsv, true};
constexpr TraceKind kOracle{TraceFormat::kOracleGeneral, false};
constexpr TraceKind kOracleZstd{TraceFormat::kOracleGeneral, true};

Trace read(const std::string& bytes, TraceKind kind, std::uint64_t requests_max = 0) {
  std::istringstream in(bytes);
  return read_trace(in, kind, requests_max);
}

std::string compressed(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), 0);
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

void put(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}

std::string record(std::uint32_t time, std::uint64_t key, std::uint32_t size, std::int64_t next) {
  std::string out;
  put(out, time, 4);
  put(out, key, 8);
  put(out, size, 4);
  put(out, static_cast<std::uint64_t>(next), 8);
  return out;
}

TEST(Traces, CsvIsRead) {
  const Trace t = read("key,size\n7,512\n8,1\n7,512\n", kCsv);
  EXPECT_EQ(t.error, "");
  ASSERT_EQ(t.requests.size(), 3u);
  EXPECT_EQ(t.objects, 2u);
  EXPECT_EQ(t.requests[1].key, 8u);
  EXPECT_EQ(t.requests[0].size, 512u);
}

TEST(Traces, LastLineMayLackItsEndAndLinesMayEndAsOnWindows) {
  const Trace t = read("key,size\r\n18446744073709551615,4294967295\r\n1,2", kCsv);
  EXPECT_EQ(t.error, "");
  ASSERT_EQ(t.requests.size(), 2u);
  EXPECT_EQ(t.requests[0].key, ~std::uint64_t{0});
  EXPECT_EQ(t.requests[0].size, ~std::uint32_t{0});
}

TEST(Traces, DamageIsNamedWithItsLine) {
  const struct {
    const char* bytes;
    const char* where;
  } cases[] = {
      {"", "line 1:"},
      {"1,2\n", "line 1:"},
      {"key,size\n1,2\nx,2\n", "line 3:"},
      {"key,size\n1\n", "line 2:"},
      {"key,size\n1,\n", "line 2:"},
      {"key,size\n1,2,3\n", "line 2:"},
      {"key,size\n\n", "line 2:"},
      {"key,size\n-1,2\n", "line 2:"},
      {"key,size\n1,4294967296\n", "line 2:"},
      {"key,size\n18446744073709551616,1\n", "line 2:"},
      {"key,size\n1,2\n1, 2\n", "line 3:"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(read(c.bytes, kCsv).error.rfind(c.where, 0), 0u)
        << c.bytes << read(c.bytes, kCsv).error;
  const std::string endless = "key,size\n" + std::string(1 << 20, '1');
  EXPECT_EQ(read(endless, kCsv).error.rfind("line 2: longer", 0), 0u);
  const std::string long_line = "key,size\n" + std::string(1000, '1') + ",1\n2,1\n";
  EXPECT_EQ(read(long_line, kCsv).error.rfind("line 2:", 0), 0u);
}

TEST(Traces, WhatPrecedesTheDamageIsKept) {
  EXPECT_EQ(read("key,size\n1,2\n3,4\nbad\n", kCsv).requests.size(), 2u);
}

TEST(Traces, LinesAcrossBlocksAreWhole) {
  std::string text = "key,size\n";
  for (int i = 0; i < 100'000; ++i)
    text += std::to_string(i * 1'000'003ll) + ',' + std::to_string(i) + '\n';
  for (const bool zstd : {false, true}) {
    const Trace t = read(zstd ? compressed(text) : text, zstd ? kCsvZstd : kCsv);
    ASSERT_EQ(t.error, "");
    ASSERT_EQ(t.requests.size(), 100'000u);
    EXPECT_EQ(t.objects, 100'000u);
    for (std::uint64_t i = 0; i < 100'000; ++i) {
      ASSERT_EQ(t.requests[i].key, i * 1'000'003);
      ASSERT_EQ(t.requests[i].size, i);
    }
  }
}

TEST(Traces, FramesOneAfterTheOtherAreOneTrace) {
  const Trace t = read(compressed("key,size\n1,1\n") + compressed("2,1\n"), kCsvZstd);
  EXPECT_EQ(t.error, "");
  EXPECT_EQ(t.requests.size(), 2u);
}

TEST(Traces, DamagedCompressionIsNamed) {
  std::string text = "key,size\n";
  for (int i = 0; i < 50'000; ++i) text += std::to_string(i * 7919 % 10'007) + ",1\n";
  const std::string good = compressed(text);
  const Trace cut = read(good.substr(0, good.size() / 2), kCsvZstd);
  EXPECT_NE(cut.error.find("zstd"), std::string::npos) << cut.error;
  EXPECT_NE(read("this is no frame at all", kCsvZstd).error.find("zstd"), std::string::npos);
  EXPECT_NE(read("", kCsvZstd).error, "");
  std::string bent = good;
  for (std::size_t i = bent.size() / 2; i < bent.size() / 2 + 8; ++i)
    bent[i] = static_cast<char>(~bent[i]);
  EXPECT_NE(read(bent, kCsvZstd).error, "");
}

TEST(Traces, OracleGeneralIsRead) {
  const std::string bytes = record(1, 0x1122334455667788u, 4096, -1) + record(2, 5, 1, 7);
  for (const bool zstd : {false, true}) {
    const Trace t = read(zstd ? compressed(bytes) : bytes, zstd ? kOracleZstd : kOracle);
    EXPECT_EQ(t.error, "");
    ASSERT_EQ(t.requests.size(), 2u);
    EXPECT_EQ(t.requests[0].key, 0x1122334455667788u);
    EXPECT_EQ(t.requests[0].size, 4096u);
    EXPECT_EQ(t.objects, 2u);
  }
}

TEST(Traces, AnOracleGeneralFileThatEndsInsideARecordIsDamaged) {
  const Trace t = read(record(1, 2, 3, 4) + record(1, 2, 3, 4).substr(0, 23), kOracle);
  EXPECT_EQ(t.requests.size(), 1u);
  EXPECT_EQ(t.error.rfind("record 2:", 0), 0u) << t.error;
  EXPECT_EQ(read("", kOracle).error.rfind("record 1:", 0), 0u);
}

TEST(Traces, OnlyAsManyAsAsked) {
  EXPECT_EQ(read("key,size\n1,1\n2,1\nbad\n", kCsv, 2).requests.size(), 2u);
  EXPECT_EQ(read("key,size\n1,1\n2,1\nbad\n", kCsv, 2).error, "");
  EXPECT_EQ(read(record(1, 2, 3, 4) + record(1, 2, 3, 4), kOracle, 1).requests.size(), 1u);
}

TEST(Traces, NamesTellTheFormat) {
  TraceKind kind;
  EXPECT_TRUE(kind_of_name("a/web07.csv.zst", kind));
  EXPECT_TRUE(kind.zstd);
  EXPECT_TRUE(kind_of_name("x.csv", kind));
  EXPECT_FALSE(kind.zstd);
  EXPECT_TRUE(kind_of_name("w92.oracleGeneral.bin", kind));
  EXPECT_EQ(kind.format, TraceFormat::kOracleGeneral);
  EXPECT_TRUE(kind_of_name("w92.oracleGeneral.zst", kind));
  EXPECT_TRUE(kind.zstd);
  EXPECT_FALSE(kind_of_name("readme.md", kind));
  EXPECT_NE(read_trace_file("no/such.csv", "", 0).error, "");
  EXPECT_NE(read_trace_file("no/such.xyz", "", 0).error.find("--format"), std::string::npos);
  EXPECT_NE(read_trace_file("no/such.csv", "parquet", 0).error.find("parquet"), std::string::npos);
}

}  // namespace
}  // namespace tern::bench
