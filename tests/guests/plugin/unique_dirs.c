// ckpt_launch --unique-dirs: each checkpoint has a folder of its own, of which the last ones stay, and restarts.
// launch: --unique-dirs --keep 1
// restart: --unique-dirs --keep 1
#include "../guest.h"
#include "../../../include/ckpt/ckpt.h"
int main(void)
{
    char path[300], name[256], why[256];
    int folders = 0, images = 0;
    guest_ready();
    if (!ckpt_enabled())
        return 0;
    // Two more: the folder of all before goes.
    for (int i = 0; i < 2; i++)
        if (ckpt_checkpoint(why, sizeof why) == CKPT_FAILED)
            guest_fail("%s", why);
    snprintf(path, sizeof path, "%s/../images", guest_dir);
    DIR *all = opendir(path);
    CHECK(all);
    for (struct dirent *e; (e = readdir(all));) {
        if (e->d_name[0] == '.' || !strcmp(e->d_name, "timings.jsonl"))
            continue;
        if (strncmp(e->d_name, "ckpt-", 5))
            guest_fail("%s lies beside the folders", e->d_name);
        folders++;
        snprintf(name, sizeof name, "%.40s/%.200s", path, e->d_name);
        DIR *one = opendir(name);
        CHECK(one);
        for (struct dirent *f; (f = readdir(one));)
            images += strstr(f->d_name, ".img") != NULL;
        closedir(one);
    }
    closedir(all);
    CHECK_EQ("folders", 1, folders);
    CHECK_EQ("images", 1, images);
    return 0;
}
