// Precompiled for tests of what of drd needs no gRPC, as catch_pch.h is for the others.
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dr/v1/api.pb.h"
