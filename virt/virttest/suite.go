package virttest

import "testing"

// Run tells every story to backends that setup makes.
func Run(t *testing.T, setup Setup) {
	for _, c := range []struct {
		name  string
		story func(*story)
	}{
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
	} {
		t.Run(c.name, func(t *testing.T) { c.story(begin(t, setup)) })
	}
}
