#include "tests/sync/schedule_text.h"

namespace tern::concurrency {
namespace {

class Writer {
 public:
  Writer(char* out, std::size_t size) : out_(out), size_(size) {}
  void put(char c) {
    if (used_ < size_) out_[used_] = c;
    ++used_;
  }
  void put_number(std::size_t n) {
    char digits[20];
    int count = 0;
    do {
      digits[count++] = static_cast<char>('0' + n % 10);
      n /= 10;
    } while (n != 0);
    while (count > 0) put(digits[--count]);
  }
  std::size_t used() const { return used_; }

 private:
  char* out_;
  std::size_t size_;
  std::size_t used_ = 0;
};

std::size_t write_schedule(const std::vector<std::uint8_t>& codes, char* out, std::size_t size) {
  Writer writer(out, size);
  for (std::size_t i = 0; i < codes.size();) {
    if (i != 0) writer.put(',');
    const std::uint8_t code = codes[i];
    if (is_freeze(code)) {
      writer.put('f');
      writer.put_number(freeze_of(code));
      ++i;
    } else if (is_value(code)) {
      writer.put('v');
      writer.put_number(value_of(code));
      ++i;
    } else {
      std::size_t run = 1;
      while (i + run < codes.size() && codes[i + run] == code) ++run;
      writer.put_number(code);
      if (run > 1) {
        writer.put('x');
        writer.put_number(run);
      }
      i += run;
    }
  }
  return writer.used();
}

}  // namespace

std::size_t format_schedule(const std::vector<std::uint8_t>& codes, char* out, std::size_t size) {
  const std::size_t needed = write_schedule(codes, out, size);
  return needed < size ? needed : size;
}

std::string format_schedule(const std::vector<std::uint8_t>& codes) {
  std::string text(write_schedule(codes, nullptr, 0), '\0');
  write_schedule(codes, text.data(), text.size());
  return text;
}

std::vector<std::uint8_t> parse_schedule(std::string_view text) {
  std::vector<std::uint8_t> codes;
  std::size_t i = 0;
  auto number = [&](std::size_t max) -> long {
    std::size_t n = 0;
    const std::size_t start = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9' && n <= max) {
      n = n * 10 + static_cast<std::size_t>(text[i++] - '0');
    }
    return i == start || n > max ? -1 : static_cast<long>(n);
  };
  while (i < text.size()) {
    if (text[i] == 'v' || text[i] == 'f') {
      const bool freeze = text[i++] == 'f';
      const long n = number(63);
      if (n < 0) return codes;
      codes.push_back(freeze ? freeze_code(static_cast<unsigned>(n))
                             : value_code(static_cast<unsigned>(n)));
    } else {
      const long thread = number(63);
      if (thread < 0) return codes;
      long run = 1;
      if (i < text.size() && text[i] == 'x') {
        ++i;
        run = number(100'000'000);
        if (run < 0) return codes;
      }
      codes.insert(codes.end(), static_cast<std::size_t>(run), static_cast<std::uint8_t>(thread));
    }
    if (i < text.size() && text[i++] != ',') return codes;
  }
  return codes;
}

}  // namespace tern::concurrency
