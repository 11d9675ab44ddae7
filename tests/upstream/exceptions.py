"""
Tests of the package that a patched `transformers.Trainer` does not pass: by tree, and by what they wait for.

A name may go on with the beginning of its parameters. One that begins to pass fails the run.
"""

GATING, WHOLE = "test_gating.py::test_", "test_committed_means_whole.py::test_"
BEST, END, FAILURES = "test_resume_best.py::test_", "test_push_end.py::test_", "test_failures.py::test_"
DAMAGED = f"{WHOLE}what_cannot_be_resumed_from_is_told_at_once_and_at_the_end_and_costs_no_other"

OURS_ALONE = {
    "async_save": (
        f"{WHOLE}what_a_callback_adds_in_on_save_is_part_of_the_checkpoint[async",
        f"{GATING}model_repo_then_checkpoint_then_bucket[end-0-async",
        f"{GATING}model_repo_then_checkpoint_then_bucket[every_save-1-async",
        f"{GATING}model_repo_then_checkpoint_then_bucket[checkpoint-2-async",
        f"{GATING}model_repo_then_checkpoint_then_bucket[all_checkpoints-2-async",
        f"{FAILURES}a_restart_goes_on_from_what_could_be_saved_but_not_copied[async",
    ),
    "bucket_total_limit": (f"{BEST}the_bucket_keeps_the_best_of_a_run_that_was_resumed_without_it",),
    "a subclass that saves in its own way": (
        f"{WHOLE}a_save_that_goes_its_own_way_is_looked_at_like_any_other",
        f"{WHOLE}a_push_that_is_asked_for_on_its_own_pushes",
    ),
    "the end of a training at the save after it was taken over": (
        f"{WHOLE}who_has_been_taken_over_ends_at_the_next_save",
    ),
}
EXCEPTIONS = {
    "series": OURS_ALONE,
    "pull-request-1": {
        **OURS_ALONE,
        "the error of the mixin is not that of transformers": (
            f"{WHOLE}the_mixin_notices_a_base_class_that_saves_in_its_own_way",
        ),
        "pull request 2: copies that outlive the process, and errors that say where they are": (
            f"{END}an_exception_in_training_goes_on_after_the_last_checkpoint_landed",
            f"{END}an_exception_in_training_is_not_hidden_by_a_push_that_fails",
            f"{FAILURES}a_failed_push_is_told_at_once_and_made_good_at_the_next_save",
            f"{FAILURES}what_cannot_be_pushed_is_told_at_the_end_and_delivered_by_a_restart",
            f"{FAILURES}training_again_in_the_same_process_delivers_what_could_not_be_pushed",
            f"{FAILURES}an_earlier_failure_is_no_error_if_the_last_checkpoint_landed",
            f"{FAILURES}a_full_disk_at_the_last_save_is_told_at_the_end",
        ),
        "pull request 2: the whole inventory, with weights by name and files that are torn": (
            f"{DAMAGED}[take_state",
            f"{DAMAGED}[take_weights",
            f"{DAMAGED}[tear_weights",
            f"{WHOLE}a_folder_that_cannot_be_listed_is_not_an_empty_one",
        ),
        "pull request 2: of the best checkpoint, the model alone is downloaded": (
            f"{BEST}only_the_model_of_the_best_one_travels",
            f"{BEST}a_best_one_that_is_gone_is_mentioned_and_training_goes_on",
        ),
        "pull request 3: whose run it is, and resume_from_checkpoint='auto'": (
            f"{WHOLE}two_trainings_in_one_run_never_mix_and_the_older_one_is_told",
            f"{WHOLE}what_a_killed_process_left_torn_is_repaired_by_the_next_save_of_that_step",
            f"{FAILURES}a_restart_goes_on_from_what_could_be_saved_but_not_copied[ordinary",
        ),
        "pull request 4: urgency, and what the Hub says in a user's words": (
            f"{END}on_sigterm_the_newest_goes_first_and_what_waited_is_dropped",
            f"{END}an_exception_without_pushes_under_way_is_passed_on_in_silence",
            f"{BEST}a_best_one_that_cannot_be_read_now_stops_the_start",
        ),
        "pull request 5: what lies at the root": (
            f"{GATING}repo_and_bucket_hold_what_the_flags_say_and_nothing_else[no repo-bucket",
            f"{GATING}repo_and_bucket_hold_what_the_flags_say_and_nothing_else[repo-bucket",
            f"{FAILURES}a_disk_too_full_for_the_logs_at_the_end_still_delivers_the_checkpoints",
        ),
    },
}
