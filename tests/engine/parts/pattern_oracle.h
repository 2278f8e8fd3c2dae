// What a glob means, written out the slow way: its braces are multiplied out, and each of the resulting sequences is
// tried against every prefix of the key.
#ifndef TERN_TESTS_ENGINE_PARTS_PATTERN_ORACLE_H_
#define TERN_TESTS_ENGINE_PARTS_PATTERN_ORACLE_H_

#include <tern/pattern.h>

#include <bitset>
#include <cctype>
#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace tern::test {

class PatternOracle {
 public:
  static constexpr std::size_t kSequencesMax = 1'000;

  explicit PatternOracle(std::string_view text, PatternOptions options = {}) : text_(text), options_(options) {
    sequences_ = alternatives(std::nullopt);
  }

  // Where the text is wrong.
  std::optional<std::size_t> error() const { return error_; }
  // More sequences than this matcher will try: nothing else means anything then.
  bool gave_up() const { return gave_up_; }

  bool matches(std::string_view key) const {
    for (const Sequence& s : sequences_) {
      if (matches(s, key)) return true;
    }
    return false;
  }

 private:
  struct Element {
    std::bitset<256> takes;
    bool is_star = false;
  };
  using Sequence = std::vector<Element>;

  static unsigned char byte(char c) { return static_cast<unsigned char>(c); }

  static bool matches(const Sequence& s, std::string_view key) {
    std::vector<bool> done(key.size() + 1);  // s[0..i) matches so many bytes of the key
    done[0] = true;
    for (const Element& e : s) {
      std::vector<bool> then(key.size() + 1);
      for (std::size_t n = 0; n <= key.size(); ++n) {
        if (!done[n]) continue;
        if (!e.is_star) {
          if (n < key.size() && e.takes[byte(key[n])]) then[n + 1] = true;
          continue;
        }
        then[n] = true;
        for (std::size_t m = n; m < key.size() && e.takes[byte(key[m])]; ++m) then[m + 1] = true;
      }
      done = then;
    }
    return done[key.size()];
  }

  std::vector<Sequence> fail(std::size_t at) {
    if (!error_) error_ = at;
    return {};
  }

  // Up to the end of the text, or of the brace that was opened there: the sequences it stands for.
  std::vector<Sequence> alternatives(std::optional<std::size_t> opened) {
    std::vector<Sequence> all;
    std::vector<Sequence> current(1);
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (opened && (c == ',' || c == '}')) {
        all.insert(all.end(), current.begin(), current.end());
        if (c == '}') return all;
        current.assign(1, {});
        continue;
      }
      if (c == '}') return fail(at_);
      if (c == '{') {
        const std::size_t here = at_++;
        const std::vector<Sequence> inner = alternatives(here);
        if (error_) return {};
        if (current.size() * inner.size() > kSequencesMax) gave_up_ = true;
        if (gave_up_) continue;
        std::vector<Sequence> product;
        for (const Sequence& a : current) {
          for (const Sequence& b : inner) {
            product.push_back(a);
            product.back().insert(product.back().end(), b.begin(), b.end());
          }
        }
        current = product;
        continue;
      }
      Element e;
      if (c == '*') {
        e.is_star = true;
        e.takes.set();
        if (at_ + 1 == text_.size() || text_[at_ + 1] != '*') e.takes.reset(byte(options_.separator));
        while (at_ + 1 != text_.size() && text_[at_ + 1] == '*') ++at_;
      } else if (c == '?') {
        e.takes.set().reset(byte(options_.separator));
      } else if (c == '[') {
        if (!set(e.takes)) return {};
      } else if (c == '\\') {
        if (++at_ == text_.size()) return fail(at_ - 1);
        one(e.takes, byte(text_[at_]));
      } else {
        one(e.takes, byte(c));
      }
      for (Sequence& s : current) s.push_back(e);
    }
    if (opened) return fail(*opened);
    return current;
  }

  void one(std::bitset<256>& takes, unsigned char c) const {
    takes.set(c);
    if (options_.fold_case && c < 128) {
      takes.set(static_cast<unsigned char>(std::toupper(c)));
      takes.set(static_cast<unsigned char>(std::tolower(c)));
    }
  }

  bool set(std::bitset<256>& takes) {
    const std::size_t opened = at_++;
    bool inverted = false;
    if (at_ < text_.size() && (text_[at_] == '!' || text_[at_] == '^')) {
      inverted = true;
      ++at_;
    }
    for (bool first = true;; first = false) {
      if (at_ >= text_.size()) return fail(opened), false;
      if (text_[at_] == ']' && !first) break;
      const std::string_view two = text_.substr(at_, 2);
      if (two == "[:" || two == "[." || two == "[=") return fail(at_), false;
      const std::size_t from_at = at_;
      const auto next = [&] {
        if (text_[at_] == '\\') {
          if (at_ + 1 == text_.size()) return false;
          ++at_;
        }
        return true;
      };
      if (!next()) return fail(at_), false;
      const unsigned from = byte(text_[at_++]);
      unsigned to = from;
      if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        ++at_;
        if (!next()) return fail(at_), false;
        to = byte(text_[at_++]);
        if (to < from) return fail(from_at), false;
      }
      for (unsigned n = from; n <= to; ++n) one(takes, static_cast<unsigned char>(n));
    }
    if (inverted) takes.flip();
    takes.reset(byte(options_.separator));
    return true;
  }

  std::string_view text_;
  PatternOptions options_;
  std::size_t at_ = 0;
  std::optional<std::size_t> error_;
  bool gave_up_ = false;
  std::vector<Sequence> sequences_;
};

}  // namespace tern::test

#endif  // TERN_TESTS_ENGINE_PARTS_PATTERN_ORACLE_H_
