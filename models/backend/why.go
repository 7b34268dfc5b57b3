package backend

// Why is why a call conflicts with the present state, or why an argument is invalid, for a
// sentence of the text catalog. Empty: the cloud gave the reason in its own words, which
// are Message.
type Why string

// The reasons. What they take as WhyArg stands beside them.
const (
	WhyAttached            Why = "attached"
	WhyAttachedElsewhere   Why = "attached_elsewhere"
	WhyCopying             Why = "copying" // of unavailable
	WhyDataWrong           Why = "data_wrong"
	WhyDeleting            Why = "deleting"
	WhyDeletionFailed      Why = "deletion_failed"
	WhyDetaching           Why = "detaching"
	WhyNoAttachmentRecord  Why = "no_attachment_record"
	WhyNoServer            Why = "no_server"
	WhyNoStatus            Why = "no_status"
	WhyNoUTF8              Why = "no_utf8"
	WhyNoUUID              Why = "no_uuid"
	WhyNotAttached         Why = "not_attached"
	WhyOnlyGrow            Why = "only_grow"
	WhyRareCharacters      Why = "rare_characters"
	WhyRefTaken            Why = "ref_taken"
	WhySnapshotAttached    Why = "snapshot_attached"     // the names of the servers
	WhySmallerThanImage    Why = "smaller_than_image"    // bytes of the image
	WhySmallerThanSnapshot Why = "smaller_than_snapshot" // GiB of the snapshot
	WhySmallerThanSource   Why = "smaller_than_source"
	WhySourceStatus        Why = "source_status" // the status
	WhyStatus              Why = "status"        // the status
	WhyTooLarge            Why = "too_large"     // GiB at most
	WhyTooLong             Why = "too_long"      // characters at most
	WhyTooSmall            Why = "too_small"
	WhyTwoSources          Why = "two_sources"
	WhyWorking             Why = "working"
)

// Whys are all reasons.
func Whys() []Why {
	return []Why{
		WhyAttached,
		WhyAttachedElsewhere,
		WhyCopying,
		WhyDataWrong,
		WhyDeleting,
		WhyDeletionFailed,
		WhyDetaching,
		WhyNoAttachmentRecord,
		WhyNoServer,
		WhyNoStatus,
		WhyNoUTF8,
		WhyNoUUID,
		WhyNotAttached,
		WhyOnlyGrow,
		WhyRareCharacters,
		WhyRefTaken,
		WhySnapshotAttached,
		WhySmallerThanImage,
		WhySmallerThanSnapshot,
		WhySmallerThanSource,
		WhySourceStatus,
		WhyStatus,
		WhyTooLarge,
		WhyTooLong,
		WhyTooSmall,
		WhyTwoSources,
		WhyWorking,
	}
}
