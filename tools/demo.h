// `tern demo`: the operations one by one, printed and checked.
#ifndef TERN_TOOLS_DEMO_H_
#define TERN_TOOLS_DEMO_H_

namespace tern::tools {

// 0, or 1 when an operation answered something else than it should.
int run_demo();

}  // namespace tern::tools

#endif  // TERN_TOOLS_DEMO_H_
