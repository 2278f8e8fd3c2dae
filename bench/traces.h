// Readers of cache traces: CSV with the header key,size, plain or compressed with zstd, and
// libCacheSim's oracleGeneral (24-byte little-endian records: u32 time, u64 key, u32 size, i64 next
// access), plain or compressed.
#ifndef TERN_BENCH_TRACES_H_
#define TERN_BENCH_TRACES_H_

#include <cstdint>
#include <istream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tern::bench {

struct Request {
  std::uint64_t key = 0;
  std::uint32_t size = 0;
};

struct Trace {
  std::vector<Request> requests;
  std::uint64_t objects = 0;  // distinct keys
  std::string error;          // empty: well read; else what is damaged and where (line or record)
};

enum class TraceFormat : std::uint8_t { kCsv, kOracleGeneral };

struct TraceKind {
  TraceFormat format = TraceFormat::kCsv;
  bool zstd = false;
};

// By the name: .csv, .csv.zst, .oracleGeneral, .oracleGeneral.bin, .oracleGeneral.zst and the like.
// False: no such name.
bool kind_of_name(std::string_view name, TraceKind& kind);

// At most `requests_max` requests (0: all). What was read before the damage is kept.
Trace read_trace(std::istream& in, TraceKind kind, std::uint64_t requests_max = 0);
Trace read_trace_file(const std::string& path, const std::string& format,
                      std::uint64_t requests_max = 0);

}  // namespace tern::bench

#endif  // TERN_BENCH_TRACES_H_
