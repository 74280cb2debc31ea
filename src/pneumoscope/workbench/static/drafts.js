// What a reader chose and typed, but has not saved: kept in this tab, so that neither a session that
// ended nor a reload costs it. It goes when it is saved, with whoever signs out, and when another
// reader comes.

const KEY = "drafts";

/** Open what a reader left unsaved: drafts are `{verdict, comment, prediction}`, by study. */
export function openDrafts(reader) {
  const kept = JSON.parse(sessionStorage.getItem(KEY));
  const studies = kept?.reader === reader ? kept.studies : {};
  write();

  function write() {
    if (Object.keys(studies).length) sessionStorage.setItem(KEY, JSON.stringify({ reader, studies }));
    else dropDrafts();
  }

  function drop(study) {
    delete studies[study];
    write();
  }

  return {
    recall: (study) => studies[study],
    drop,
    keep(study, draft) {
      if (!draft.verdict && !draft.comment) return drop(study);
      studies[study] = draft;
      write();
    },
  };
}

export function dropDrafts() {
  sessionStorage.removeItem(KEY);
}
