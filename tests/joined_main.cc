// The main of programs that hold the tests of several files (TERN_JOINED): runs those of one file. None is a failure.
//   PROGRAM FILE [gtest's flags]
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <string_view>

int main(int argc, char** argv) {
  testing::InitGoogleMock(&argc, argv);
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FILE\n", argv[0]);
    return 2;
  }
  const std::string_view file = argv[1];
  std::string wanted;
  const testing::UnitTest& all = *testing::UnitTest::GetInstance();
  for (int i = 0; i != all.total_test_suite_count(); ++i) {
    const testing::TestSuite& suite = *all.GetTestSuite(i);
    for (int t = 0; t != suite.total_test_count(); ++t) {
      const testing::TestInfo& test = *suite.GetTestInfo(t);
      if (test.file() == file) wanted += std::string(suite.name()) + '.' + test.name() + ':';
    }
  }
  if (wanted.empty()) {
    std::fprintf(stderr, "%s: no test of %s is in it\n", argv[0], argv[1]);
    return 2;
  }
  // What GTEST_FILTER or a flag leaves out stays out; it can't choose among these.
  const std::string given = GTEST_FLAG_GET(filter);
  const std::size_t dash = given.find('-');
  GTEST_FLAG_SET(filter, wanted + (dash == std::string::npos ? "" : given.substr(dash)));
  return RUN_ALL_TESTS();
}
