// Reads the file of credentials.
#include "ur/signalling/credentials.h"

#include <google/protobuf/util/json_util.h>

#include <stdexcept>

#include "base/printable.h"
#include "base/utf8.h"
#include "pki/authority.h"

namespace dr::ur {

void check_credentials(const v1::Credentials& c, const std::string& name) {
    const auto require = [&](bool good, const char* what) {
        if (!good) throw std::runtime_error(name + ": " + what);
    };
    require(!c.subscriber().empty(), "subscriber is missing");
    require(!c.drs().empty(), "drs is missing: no DR to attach to");
    for (const auto& dr : c.drs())
        require(!dr.name().empty() && !dr.addresses().empty(), "a DR has no name or no address");
    require(!pki::parse_certificates(c.ca()).empty(), "ca is no certificate in PEM");
    require(!pki::parse_certificates(c.certificate()).empty(),
            "certificate is no certificate in PEM");
    const std::string why = pki::check_pair(c.certificate(), c.private_key());
    require(why.empty(), ("privateKey: " + why).c_str());
}

v1::Credentials parse_credentials(const std::string& text, const std::string& name) {
    v1::Credentials credentials;
    google::protobuf::util::JsonParseOptions options;
    options.ignore_unknown_fields = true;
    if (is_utf16(text)) throw std::runtime_error(name + ": is UTF-16; it must be UTF-8");
    const std::string json(without_mark(text));
    const auto status = google::protobuf::util::JsonStringToMessage(json, &credentials, options);
    if (!status.ok())
        throw std::runtime_error(name +
                                 ": no credentials in JSON, as drcli subscriber enroll "
                                 "writes them: " +
                                 dr::shown(status.ToString(), 1000));
    check_credentials(credentials, name);
    return credentials;
}

v1::Credentials read_credentials(const std::string& path) {
    return parse_credentials(pki::read_file(path), path);
}

}  // namespace dr::ur
