/* A plugin of qemu-user: counts the instructions executed in code that the program itself made executable.
 *
 * IREE copies a network's kernels into memory and makes that executable with mprotect; the loader of shared libraries
 * maps code from files instead. So the count holds the kernels and nothing else, and repeats exactly. Blocks of
 * instructions are translated once and counted as a whole each time they run. Declared here and not included, because
 * distributions ship qemu without the header: the functions are those of the plugin interface since version 1.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define AARCH64_MPROTECT 226
#define EXECUTABLE 4 /* PROT_EXEC */
#define MOST_RANGES 256

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
typedef void (*on_block)(plugin_id, struct qemu_plugin_tb *);
typedef void (*on_run)(unsigned int, void *);
typedef void (*on_exit)(plugin_id, void *);
typedef void (*on_syscall)(plugin_id, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t);

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, on_block);
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, on_run, int, void *);
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, on_syscall);
extern void qemu_plugin_register_atexit_cb(plugin_id, on_exit, void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

int qemu_plugin_version = PLUGIN_VERSION; /* given by who compiles it: qemu refuses those it doesn't know */

static uint64_t count, begins[MOST_RANGES], ends[MOST_RANGES];
static int ranges;

static void run(unsigned int core, void *instructions) {
  (void)core;
  __atomic_fetch_add(&count, (uintptr_t)instructions, __ATOMIC_RELAXED);
}

static void system_call(plugin_id id, unsigned int core, int64_t number, uint64_t address, uint64_t length,
                        uint64_t protection, uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)core, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number == AARCH64_MPROTECT && (protection & EXECUTABLE) && ranges < MOST_RANGES) {
    begins[ranges] = address;
    ends[ranges++] = address + length;
  }
}

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
  (void)id;
  uint64_t address = qemu_plugin_tb_vaddr(block);
  for (int i = 0; i < ranges; i++)
    if (begins[i] <= address && address < ends[i]) {
      qemu_plugin_register_vcpu_tb_exec_cb(block, run, 0, (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
      return;
    }
}

static void over(plugin_id id, void *data) {
  (void)id, (void)data;
  fprintf(stderr, "\ninstructions: %" PRIu64 "\n", count);
}

int qemu_plugin_install(plugin_id id, const void *info, int arguments, char **values) {
  (void)info, (void)arguments, (void)values;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, system_call);
  qemu_plugin_register_atexit_cb(id, over, NULL);
  return 0;
}
