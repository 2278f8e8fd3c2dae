#include "bench/traces.h"

#include <zstd.h>

#include <charconv>
#include <cstring>
#include <fstream>
#include <unordered_set>

namespace tern::bench {
namespace {

// Bytes of a file, decompressed if need be, a block at a time.
class Source {
 public:
  Source(std::istream& in, bool zstd)
      : in_(in), zstd_(zstd), raw_(ZSTD_DStreamInSize()), input_{raw_.data(), 0, 0} {
    if (zstd_) stream_ = ZSTD_createDStream();
  }
  ~Source() { ZSTD_freeDStream(stream_); }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // Up to `size` bytes; fewer at the end or when error() says something.
  std::size_t read(char* out, std::size_t size) {
    if (!zstd_) {
      in_.read(out, static_cast<std::streamsize>(size));
      return static_cast<std::size_t>(in_.gcount());
    }
    ZSTD_outBuffer output{out, size, 0};
    while (output.pos < output.size && error_.empty()) {
      if (input_.pos == input_.size && !refill()) break;
      const std::size_t before = output.pos;
      const std::size_t left = ZSTD_decompressStream(stream_, &output, &input_);
      if (ZSTD_isError(left) != 0) {
        error_ = std::string("zstd: ") + ZSTD_getErrorName(left);
      }
      in_frame_ = left != 0;
      // Everything has been consumed, and the decoder still holds bytes that it could not place.
      if (input_.pos == input_.size && output.pos == before && output.pos == output.size) break;
    }
    return output.pos;
  }
  const std::string& error() const { return error_; }

 private:
  bool refill() {
    in_.read(raw_.data(), static_cast<std::streamsize>(raw_.size()));
    input_.size = static_cast<std::size_t>(in_.gcount());
    input_.pos = 0;
    if (input_.size != 0) return true;
    if (in_frame_) error_ = "zstd: the file ends inside a compressed frame";
    return false;
  }

  std::istream& in_;
  bool zstd_;
  ZSTD_DStream* stream_ = nullptr;
  std::vector<char> raw_;
  ZSTD_inBuffer input_;
  bool in_frame_ = true;  // an empty file is a damaged one
  std::string error_;
};

constexpr std::size_t kBlock = std::size_t{1} << 18;
constexpr std::size_t kLineMax = 256;

std::string shown(std::string_view line) {
  std::string out;
  for (const char c : line.substr(0, 60)) out += c >= ' ' && c <= '~' ? c : '?';
  return out;
}

// "key,size": both decimal.
bool parse_line(std::string_view line, Request& request) {
  const char* const end = line.data() + line.size();
  const auto key = std::from_chars(line.data(), end, request.key);
  if (key.ec != std::errc{} || key.ptr == end || *key.ptr != ',') return false;
  const auto size = std::from_chars(key.ptr + 1, end, request.size);
  return size.ec == std::errc{} && size.ptr == end;
}

void read_csv(Source& source, Trace& trace, std::uint64_t requests_max) {
  std::vector<char> block(kBlock);
  std::string rest;
  std::uint64_t number = 0;
  const auto take = [&](std::string_view line) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (number == 1) {
      if (line == "key,size") return true;
      trace.error = "line 1: the header must be 'key,size', not '" + shown(line) + "'";
      return false;
    }
    Request request;
    if (!parse_line(line, request)) {
      trace.error = "line " + std::to_string(number) + ": '" + shown(line) + "' is no 'key,size'";
      return false;
    }
    trace.requests.push_back(request);
    return requests_max == 0 || trace.requests.size() < requests_max;
  };
  for (;;) {
    const std::size_t got = source.read(block.data(), block.size());
    std::string_view bytes(block.data(), got);
    while (!bytes.empty()) {
      const std::size_t at = bytes.find('\n');
      if (at == std::string_view::npos) {
        rest.append(bytes.substr(0, kLineMax + 1));
        break;
      }
      rest.append(bytes.substr(0, std::min(at, kLineMax + 1)));
      const bool more = take(rest);
      rest.clear();
      if (!more) return;
      bytes.remove_prefix(at + 1);
    }
    if (rest.size() > kLineMax) {
      trace.error = "line " + std::to_string(number + 1) + ": longer than " +
                    std::to_string(kLineMax) + " bytes";
      return;
    }
    if (got < block.size()) break;
  }
  if (!source.error().empty()) {
    trace.error = "after line " + std::to_string(number) + ": " + source.error();
    return;
  }
  if (!rest.empty() && !take(rest)) return;
  if (number == 0) trace.error = "line 1: the header 'key,size' is missing, the file is empty";
}

template <class T>
T little_endian(const char* at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(
        value | static_cast<T>(static_cast<T>(static_cast<unsigned char>(at[i])) << (8 * i)));
  }
  return value;
}

void read_oracle(Source& source, Trace& trace, std::uint64_t requests_max) {
  constexpr std::size_t kRecord = 24;
  std::vector<char> block(kBlock / kRecord * kRecord);
  for (;;) {
    const std::size_t got = source.read(block.data(), block.size());
    for (std::size_t at = 0; at + kRecord <= got; at += kRecord) {
      trace.requests.push_back({little_endian<std::uint64_t>(&block[at + 4]),
                                little_endian<std::uint32_t>(&block[at + 12])});
      if (trace.requests.size() == requests_max) return;
    }
    const std::string number = std::to_string(trace.requests.size() + 1);
    if (!source.error().empty()) {
      trace.error = "record " + number + ": " + source.error();
    } else if (got % kRecord != 0) {
      trace.error = "record " + number + ": the file ends inside of it, " +
                    std::to_string(got % kRecord) + " of 24 bytes are there";
    } else if (trace.requests.empty() && got == 0) {
      trace.error = "record 1: the file is empty";
    }
    if (got < block.size()) return;
  }
}

}  // namespace

bool kind_of_name(std::string_view name, TraceKind& kind) {
  kind = {};
  const auto strip = [&](std::string_view end) {
    if (!name.ends_with(end)) return false;
    name.remove_suffix(end.size());
    return true;
  };
  kind.zstd = strip(".zst") || strip(".zstd");
  if (name.ends_with(".csv")) return true;
  strip(".bin");
  if (!name.ends_with("oracleGeneral")) return false;
  kind.format = TraceFormat::kOracleGeneral;
  return true;
}

Trace read_trace(std::istream& in, TraceKind kind, std::uint64_t requests_max) {
  Trace trace;
  Source source(in, kind.zstd);
  if (kind.format == TraceFormat::kCsv) {
    read_csv(source, trace, requests_max);
  } else {
    read_oracle(source, trace, requests_max);
  }
  std::unordered_set<std::uint64_t> keys;
  for (const Request& r : trace.requests) keys.insert(r.key);
  trace.objects = keys.size();
  return trace;
}

Trace read_trace_file(const std::string& path, const std::string& format,
                      std::uint64_t requests_max) {
  Trace trace;
  TraceKind kind;
  if (!format.empty()) {
    if (format != "csv" && format != "oracle") {
      trace.error = "there is no format '" + format + "'; there are csv and oracle";
      return trace;
    }
    kind.format = format == "csv" ? TraceFormat::kCsv : TraceFormat::kOracleGeneral;
    kind.zstd = path.ends_with(".zst") || path.ends_with(".zstd");
  } else if (!kind_of_name(path, kind)) {
    trace.error = "its name doesn't tell its format: name it with --format csv or oracle";
    return trace;
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    trace.error = "it can't be read";
    return trace;
  }
  return read_trace(in, kind, requests_max);
}

}  // namespace tern::bench
