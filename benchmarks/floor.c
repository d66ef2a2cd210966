/* The floor: SHA-256 of every file of a list by OpenSSL's EVP on two threads, compared with what the list says.
 *
 * Reads a list ("<hex> <bytes> <path>" a line, paths relative to the working directory), takes the largest files first
 * from one shared counter, and prints how many matched. It knows nothing of signatures, manifests or unlisted files:
 * nothing that checks bytes can be much faster than this. The sizes are in its list, as they are in a manifest: asking
 * for 200,000 of them would take it as long as half of its hashing.
 *
 *     cc -O3 -pthread floor.c -o floor -lcrypto && (cd DATA && floor LIST)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 2
#define BUFFER (256 * 1024)

struct entry {
    char *path;
    char *hex;
    off_t size;
};

static struct entry *entries;
static size_t count;
static atomic_size_t next;
static atomic_size_t matched;

static int by_size(const void *a, const void *b) {
    off_t left = ((const struct entry *)a)->size, right = ((const struct entry *)b)->size;
    return (left < right) - (left > right);
}

static void *work(void *unused) {
    (void)unused;
    unsigned char *buffer = malloc(BUFFER), digest[EVP_MAX_MD_SIZE];
    char hex[65];
    const EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    for (size_t i; (i = atomic_fetch_add(&next, 1)) < count;) {
        int fd = open(entries[i].path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        EVP_DigestInit_ex2(context, md, NULL);
        ssize_t got;
        off_t seen = 0;
        while ((got = read(fd, buffer, BUFFER)) > 0) {
            EVP_DigestUpdate(context, buffer, (size_t)got);
            seen += got;
            if (seen == entries[i].size && got < BUFFER)
                break;
        }
        close(fd);
        EVP_DigestFinal_ex(context, digest, NULL);
        for (int j = 0; j < 32; j++)
            sprintf(hex + 2 * j, "%02x", digest[j]);
        if (got >= 0 && memcmp(hex, entries[i].hex, 64) == 0)
            atomic_fetch_add(&matched, 1);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    FILE *list = fopen(argv[1], "r");
    if (!list)
        return 3;
    char *line = NULL;
    size_t room = 0, allocated = 0;
    ssize_t length;
    while ((length = getline(&line, &room, list)) > 0) {
        line[length - 1] = 0;
        char *space = length < 68 ? NULL : strchr(line + 65, ' ');
        if (!space)
            return 3;
        if (count == allocated)
            entries = realloc(entries, (allocated = allocated ? 2 * allocated : 1024) * sizeof *entries);
        entries[count++] = (struct entry){strdup(space + 1), strndup(line, 64), strtoll(line + 65, NULL, 10)};
    }
    qsort(entries, count, sizeof *entries, by_size);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("%zu of %zu\n", (size_t)matched, count);
    return matched == count ? 0 : 1;
}
