// What a UR proves itself with, and what it believes a DR by: the file that `drcli subscriber
// enroll` wrote, protobuf-JSON of dr.v1.Credentials. Any thread.
#pragma once

#include <string>

#include "dr/v1/api.pb.h"

namespace dr::ur {

// Each throws std::runtime_error that says what is wrong and where; `name` is what it calls the
// file.
v1::Credentials read_credentials(const std::string& path);
v1::Credentials parse_credentials(const std::string& text, const std::string& name);
// Whether all is there, and the key fits the certificate.
void check_credentials(const v1::Credentials& credentials, const std::string& name);

}  // namespace dr::ur
