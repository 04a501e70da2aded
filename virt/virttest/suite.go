package virttest

import (
	"slices"
	"testing"
)

// tale is a story and what it shows.
type tale struct {
	name  string
	story func(*story)
}

// Run tells every story to backends that setup makes.
func Run(t *testing.T, setup Setup) {
	for _, c := range slices.Concat(life, power, parts, copies, inside) {
		t.Run(c.name, func(t *testing.T) { c.story(begin(t, setup)) })
	}
}

var life = []tale{
	{"Host_SaysWhatItOffers", hostSaysWhatItOffers},
	{"Build_TwiceIsTheSameAsOnce", buildTwice},
	{"Build_RefreshesADomainThatIsOff", buildRefreshes},
	{"Build_ChangesNothingOfADomainThatRuns", buildLeavesRunning},
	{"Build_RefusesWhatCannotBe", buildRefuses},
	{"Build_HostileTextStaysText", buildHostileText},
	{"Start_TwiceIsTheSameAsOnce", startTwice},
	{"Start_WhatWasNotBuiltIsNotFound", startMissing},
	{"Stop_OffIsNotAnErrorAndKeepsTheDomain", stopTwice},
	{"Stop_ByPowerButtonReturns", stopByButton},
	{"Remove_MissingIsNotAnError", removeMissing},
	{"Remove_RunningGoesAndItsDiskStays", removeRunning},
	{"RemoveDisks_NeedsTheDomainGone", removeDisks},
	{"Domain_UnknownIsListedNotTouched", strangers},
	{"Domain_OfAnotherClusterIsNotTouched", foreigners},
	{"Domain_KeepsRunningAndKeepsItsStampOverARestart", reopen},
	{"Domain_ThatDiedIsNotRunningAndStartsAgain", dies},
	{"ID_ThatIsNoUUIDIsRefused", hostileIDs},
	{"Events_ComeAfterAPowerChange", events},
	{"Events_EndWithClose", eventsEnd},
	{"Deadline_HangingHypervisorAnswersByIt", hangs},
	{"Deadline_PassedAlreadyIsAnError", deadlinePassed},
	{"Console_TellsWhatTheGuestPrints", console},
	{"Console_OfNobodyIsNotFound", consoleMissing},
	{"Many_AtOnceDoNotDisturbEachOther", many},
}

var power = []tale{
	{"Pause_TwiceIsTheSameAsOnce", pauseTwice},
	{"Pause_LastsOverARestart", pauseReopen},
	{"Pause_DoesNotKeepFromStopping", pausedStops},
	{"Power_OffIsNotRunning", offIsNotRunning},
	{"Power_WhatWasNotBuiltIsNotFound", missingIsNotFound},
	{"Save_KeepsTheMemoryOverARestart", saveTwice},
	{"Save_OfAPausedGuestKeepsItsMemory", savePaused},
	{"Save_IsDroppedByADestroy", saveDropped},
	{"Save_GoesWithTheDomain", saveRemoved},
	{"Stamp_ChangesNothingElse", stamped},
	{"Stamp_OfAnotherClustersDomainIsRefused", stampForeign},
}

var parts = []tale{
	{"AttachDisk_TwiceIsTheSameAsOnceAndLasts", attachDisk},
	{"AttachDisk_RefusesWhatCannotBe", attachDiskRefuses},
	{"AttachNIC_TwiceIsTheSameAsOnceAndLasts", attachNIC},
	{"Build_BringsVolumesAndTakesThemAway", buildWithDisk},
	{"Build_RefusesDisksThatCannotBe", buildRefusesDisks},
	{"Build_MakesTheOtherDisks", madeDisks},
	{"Build_ForARescueLeavesTheRootAlone", rescue},
	{"ResizeDisk_GrowsAndNeverShrinks", resizeDisk},
	{"RemoveDisks_TakesEpochsAndLeavesWhatIsUsed", epochs},
}

var copies = []tale{
	{"Capture_IsAWholeImage", captured},
	{"Capture_GivenUpLeavesTheGuestAlone", captureGivenUp},
	{"Export_ArrivesAsItLeft", exportImport},
	{"Export_RefusesARunningGuest", exportRefuses},
	{"Migrate_CarriesTheGuestWithItsMemory", migrated},
	{"Migrate_ToNowhereLeavesTheGuestHere", migrateUnreachable},
	{"Migrate_AbortedRunsInOnePlace", migrateAborted},
	{"Migrate_OnlyWhatRuns", migrateRefuses},
}

var inside = []tale{
	{"Dial_TalksAndEndsWithThePower", dialed},
	{"Dial_RefusesWhatIsNotThere", dialRefuses},
	{"Diagnostics_TellWhatRuns", diagnosed},
	{"SetPassword_WithoutAnAgentIsUnsupported", passwordWithoutAgent},
	{"Crash_NeedsAGuestThatRuns", crashed},
}
