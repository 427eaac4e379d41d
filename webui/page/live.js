// What happens while a page is open: one event stream, which goes on where it broke
// off; where there is none, asking now and then.
import { get, questions } from './lib.js';

// watch calls told(news) for what ended or was refused, at most once in ms, and
// away(error), or away() when the gateway answers, until the function that it returns
// is called. news are answers of GET /v1/calls; with ms only the last one.
export function watch(query, ms, told, away) {
  let over = false; let cursor = query?.after; let timer; let last = 0; let waiting; let failures = 0;
  const say = (news) => {
    if (!ms) { told(news); return; }
    clearTimeout(waiting);
    waiting = setTimeout(() => { last = Date.now(); if (!over) told(news); }, Math.max(0, last + ms - Date.now()));
  };
  const { after: _, page_size: __, ...asked } = query || {};
  const poll = async () => {
    if (over) return;
    try {
      const news = await get('calls', { ...asked, page_size: 100, after: cursor });
      if (cursor && news.calls.length) say(news);
      cursor = news.cursor;
      away();
    } catch (err) { away(err); }
    timer = setTimeout(poll, 5000);
  };
  let source;
  const open = () => {
    if (over) return;
    source = new EventSource('/ui/events' + questions({ ...asked, page_size: '100', after: cursor }));
    source.onopen = () => { failures = 0; away(); };
    source.onmessage = (e) => { cursor = e.lastEventId; say(JSON.parse(e.data)); };
    source.onerror = () => {
      source.close();
      if (over) return;
      failures++;
      if (failures === 1) timer = setTimeout(open, 1000); // such as a restart
      else poll();
    };
  };
  open();
  return () => { over = true; source?.close(); clearTimeout(timer); clearTimeout(waiting); };
}
