// Runs a fuzz target without a fuzzer: over each file of a corpus, then over inputs generated from a fixed seed, so
// that every build and every compiler exercises the targets.
//
//   NAME [CORPUS_DIRECTORY] [COUNT] [SEED]      CORPUS_DIRECTORY - : there is none
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int argc, char** argv) {
  std::size_t files = 0;
  if (argc > 1 && std::string_view(argv[1]) != "-") {
    if (!std::filesystem::is_directory(argv[1])) {
      std::printf("no corpus at %s\n", argv[1]);
      return 1;
    }
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[1])) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
      ++files;
    }
  }
  const unsigned long count = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 2'000;
  const unsigned long seed = argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1;
  std::vector<std::uint8_t> bytes;
  for (unsigned long n = 0; n < count; ++n) {
    // Each input has a generator of its own: `COUNT` 1 with its seed replays it alone.
    std::mt19937_64 random(seed + n);
    bytes.resize(random() % (n % 16 == 0 ? 4'096 : 256));
    // Bytes from a small alphabet meet the interesting branches of a parser more often.
    const std::uint64_t mask = n % 2 == 0 ? 0xff : 0x0f;
    for (std::uint8_t& b : bytes) b = static_cast<std::uint8_t>(random() & mask);
    std::fprintf(stderr, "\rseed %lu", seed + n);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::fprintf(stderr, "\n");
  std::printf("%zu files of the corpus, %lu generated inputs\n", files, count);
  return files + count > 0 ? 0 : 1;
}
