// Redis with a dump: a redis-server of the benchmark's own on a private socket is filled and told to save (BGSAVE); then it is
// started again and again with what it has saved. Spoken to by hiredis.
#ifndef TERN_BENCH_PEERS_REDIS_DUMP_H_
#define TERN_BENCH_PEERS_REDIS_DUMP_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace tern::bench {

class RedisDump {
 public:
  // key(i) for i < count, each with `value`. Everything is made in `folder`, which is there and is the benchmark's own.
  RedisDump(std::string folder, std::uint64_t count, const std::function<std::string(std::uint64_t)>& key, std::string_view value);
  ~RedisDump();
  RedisDump(const RedisDump&) = delete;
  RedisDump& operator=(const RedisDump&) = delete;
  // Empty, or what went wrong.
  const std::string& error() const { return error_; }

  // Seconds from the start of a server with the dump to the first answer with this key's value; 0: see error().
  double restart(const std::string& key, std::string_view value);

 private:
  bool start();
  void stop();

  std::string folder_;
  std::string socket_;
  pid_t child_ = -1;
  std::string error_;
};

}  // namespace tern::bench

#endif  // TERN_BENCH_PEERS_REDIS_DUMP_H_
