// The steps of a photo, and the words for them.

export const STEPS = ["claimed", "waiting", "enhancing", "delivering", "enhanced"];

const WORDS = {
  uploading: "Uploading",
  queued: "In the queue",
  interrupted: "Not uploaded",
  claimed: "Claimed",
  waiting: "Waiting",
  enhancing: "Enhancing",
  delivering: "Delivering",
  reporting: "Reporting",
  retrying: "Trying again",
  enhanced: "Enhanced",
  failed: "Failed",
  rejected: "Rejected",
  superseded: "Superseded",
  unknown: "Unknown",
};
const TONES = { enhanced: "good", failed: "bad", interrupted: "bad", rejected: "bad", unknown: "warn", superseded: "mute", retrying: "warn", queued: "mute", uploading: "busy" };

export const word = stage => WORDS[stage] ?? stage;
export const tone = stage => TONES[stage] ?? "busy";
export const isMoving = stage => ["uploading", "claimed", "waiting", "enhancing", "delivering", "reporting", "retrying"].includes(stage);
/** How many of the five steps are reached; -1 if the photo left the path. */
export const reached = stage => STEPS.indexOf(stage === "reporting" ? "delivering" : stage === "retrying" ? "claimed" : stage);
