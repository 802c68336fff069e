/* Time of a message between two cores and back, every half second: on shared machines it changes.

cc -O2 -pthread benchmarks/core_distance.c -o core_distance && ./core_distance 60

Two threads, on cores 0 and 1, pass a flag to and fro 200,000 times; a line has the nanoseconds of a
round trip. A virtual machine whose cores lie now in one cluster of cores with a common cache, now in
two, shows two speeds, and so does what shares data between its cores. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TRIPS = 200000 };
static _Alignas(128) atomic_int flag;

static void stay_on(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void pass(int from, int to) {
  while (atomic_load_explicit(&flag, memory_order_acquire) != from) {
  }
  atomic_store_explicit(&flag, to, memory_order_release);
}

static void *answer(void *unused) {
  stay_on(1);
  for (int trip = 0; trip < TRIPS; trip++) pass(1, 0);
  return unused;
}

int main(int count, char **arguments) {
  int lines = count > 1 ? atoi(arguments[1]) : 20;
  stay_on(0);
  for (int line = 0; line < lines; line++) {
    pthread_t other;
    struct timespec start, end;
    pthread_create(&other, NULL, answer, NULL);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int trip = 0; trip < TRIPS; trip++) pass(0, 1);
    pthread_join(other, NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (end.tv_sec - start.tv_sec) + 1e-9 * (end.tv_nsec - start.tv_nsec);
    printf("%.0f ns\n", 1e9 * seconds / TRIPS);
    fflush(stdout);
    usleep(500000);
  }
  return 0;
}
