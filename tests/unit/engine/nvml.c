/* A stand-in for NVIDIA's NVML: two cards, with processes as a file says: "CARD PID BYTES" in each line. */

#include <stdio.h>
#include <stdlib.h>

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } Process;

static unsigned long long totals[2] = {16ull << 30, 8ull << 30};

int nvmlInit_v2(void) { return getenv("FAKE_GPUS") ? 0 : 9; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { *handle = totals + index; return 0; }

int nvmlDeviceGetName(void *handle, char *name, unsigned room) {
    snprintf(name, room, "Card %d", (int)((unsigned long long *)handle - totals));
    return 0;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    memory->total = *(unsigned long long *)handle;
    return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *infos) {
    FILE *file = fopen(getenv("FAKE_GPUS"), "r");
    unsigned card, pid, found = 0, room = *count;
    unsigned long long used;
    if (!file) { *count = 0; return 0; }
    while (fscanf(file, "%u %u %llu", &card, &pid, &used) == 3) {
        if (handle != totals + card) continue;
        if (found < room) infos[found] = (Process){pid, used, 0, 0};
        found++;
    }
    fclose(file);
    *count = found;
    return found > room ? 7 : 0;
}
