// How many processors there are. Part of the platform interface (platform.h).
#ifndef TERN_ALLOC_PLATFORM_PROCESSORS_H_
#define TERN_ALLOC_PLATFORM_PROCESSORS_H_

namespace tern::alloc::platform {

// That are online, whether the calling thread may run on them or not (hardware_threads): others of this process may; at least 1.
unsigned online_processors() noexcept;

}  // namespace tern::alloc::platform

#endif  // TERN_ALLOC_PLATFORM_PROCESSORS_H_
