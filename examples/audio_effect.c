/* An audio effect: a second of a tone at 48 kHz through a network, block by block.

       cc -O2 audio_effect.c amp.o -o audio_effect && ./audio_effect tone.f32 > out.f32

   It reads float32 samples from a file and writes as many. `amp.o` and `amp.h` are what
   examples/audio_effect.py makes. */

#include <stdio.h>

#include "amp.h"

#define BLOCK 64 /* samples that an audio driver asks for at once */

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: %s SAMPLES > RESULT (float32)\n", arguments[0]);
        return 2;
    }
    FILE *file = fopen(arguments[1], "rb");
    if (!file) {
        perror(arguments[1]);
        return 1;
    }
    static amp_state state; /* plain memory; one for each channel */
    float samples[BLOCK];
    size_t read;
    amp_reset(&state);
    while ((read = fread(samples, sizeof *samples, BLOCK, file)) > 0) {
        amp_sequence(&state, samples, samples, read);
        fwrite(samples, sizeof *samples, read, stdout);
    }
    fclose(file);
    return 0;
}
