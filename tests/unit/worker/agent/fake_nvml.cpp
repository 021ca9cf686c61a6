// SPDX-License-Identifier: Apache-2.0
// A library with the interface of NVIDIA's, of two cards: the second tells only what it must.
// FAKE_NVML names what is broken.
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace {
bool broken(std::string_view what) {
    const char* text = std::getenv("FAKE_NVML");
    return text != nullptr && what == text;
}
int copy(const char* from, char* to, unsigned size) {
    std::strncpy(to, from, size);
    return 0;
}
int first_only(long device, unsigned value, unsigned* out) {
    if (device != 1) return 3;  // not supported
    *out = value;
    return 0;
}
}  // namespace

extern "C" {
int nvmlInit_v2() {
    return broken("init") ? 9 : 0;
}
int nvmlShutdown() {
    return 0;
}
int nvmlSystemGetDriverVersion(char* to, unsigned size) {
    return copy("535.104.05", to, size);
}
int nvmlDeviceGetCount_v2(unsigned* out) {
    *out = 2;
    return broken("count") ? 999 : 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, long* out) {
    *out = static_cast<long>(index) + 1;
    return broken("lost") ? 15 : 0;
}
int nvmlDeviceGetUUID(long device, char* to, unsigned size) {
    return copy(device == 1 ? "GPU-11111111-2222" : "GPU-33333333-4444", to, size);
}
int nvmlDeviceGetName(long device, char* to, unsigned size) {
    return copy(device == 1 ? "Fake H100" : "Fake\x1b[2J", to, size);
}
int nvmlDeviceGetMemoryInfo(long, unsigned long long* out) {
    out[0] = 80ULL << 30;
    out[1] = 79ULL << 30;
    out[2] = 1ULL << 30;
    return 0;
}
int nvmlDeviceGetCurrPcieLinkGeneration(long device, unsigned* out) {
    return first_only(device, 5, out);
}
int nvmlDeviceGetCurrPcieLinkWidth(long device, unsigned* out) {
    return first_only(device, 16, out);
}
int nvmlDeviceGetTotalEccErrors(long device, int type, int counter, unsigned long long* out) {
    if (device != 1 || type != 1 || counter != 0) return 3;
    *out = 2;
    return 0;
}
int nvmlDeviceGetTemperature(long device, int, unsigned* out) {
    return first_only(device, 41, out);
}
int nvmlDeviceGetPowerUsage(long device, unsigned* out) {
    return first_only(device, 70'500, out);
}
}
