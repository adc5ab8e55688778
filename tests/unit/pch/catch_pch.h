// Precompiled for tests of several files: what takes most of the time to compile in each of them.
// They include what they use all the same.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>
